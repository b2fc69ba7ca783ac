//! A page with texts in colour, complete in itself: no script, no font, no picture from elsewhere.

use std::fmt::Write;

use super::html::{escape, gradient, hex};
use super::{Passage, Token, color};
use crate::color_bar::short;
use crate::colors::ColorMap;
use crate::error::Result;
use crate::terminal::ink;

/// Something that is known about a text's attribution: `method`, `integrated-gradients`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    /// What is known.
    pub name: String,
    /// What it is.
    pub value: String,
}

/// Texts in colour under a title.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The title.
    pub title: String,
    /// The texts, each with a scale of its own.
    pub passages: Vec<Passage>,
    /// The colours; where none are given, those that are [usual](Passage::usual_colors) for each text.
    pub colors: Option<ColorMap>,
    /// The evidence in a form for programs, folded at the end; empty for none.
    pub evidence: String,
}

const STYLE: &str = "\
:root{color-scheme:light}
body{font:17px/1.6 system-ui,sans-serif;color:#222;background:#fff;margin:2em auto;max-width:50em;padding:0 1em}
h1{font-size:1.35em}h2{font-size:1.05em;margin:2em 0 .4em}
.text{font-size:1.25em;line-height:2.1;white-space:pre-wrap;overflow-wrap:anywhere;margin:.4em 0}
.token{position:relative;padding:.15em .08em;border-radius:.2em;outline-offset:1px}
.special{font-size:.7em;font-family:ui-monospace,monospace;border:1px dashed #777;vertical-align:.1em;margin:0 .2em}
.token:hover::after,.token:focus::after{content:attr(data-value);position:absolute;left:50%;bottom:105%;\
transform:translateX(-50%);background:#222;color:#fff;font:14px ui-monospace,monospace;padding:.2em .5em;\
border-radius:.3em;white-space:pre;z-index:1;pointer-events:none}
.legend{display:flex;gap:.6em;align-items:center;font-size:.8em;color:#444;flex-wrap:wrap}
.scale{width:12em;height:.9em;border:1px solid #999}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em;font-size:.85em}dt{color:#555}dd{margin:0}
table{border-collapse:collapse;font-size:.85em}td,th{padding:.1em .8em .1em 0;text-align:left}
td.number{text-align:right;font-variant-numeric:tabular-nums}
summary{cursor:pointer;font-size:.85em}pre{font-size:.8em;white-space:pre-wrap;overflow-wrap:anywhere}";

impl Page {
    /// The page as HTML. The numbers are in the colours, beside the pointer, and in a table below each text. All texts
    /// are escaped. Errors: a text without tokens, NaN or infinity.
    pub fn html(&self) -> Result<String> {
        let title = escape(&self.title);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
             <style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        for passage in &self.passages {
            page.push_str(&section(passage, self.colors.unwrap_or_else(|| passage.usual_colors()))?);
        }
        if !self.evidence.is_empty() {
            let evidence = escape(&self.evidence);
            writeln!(page, "<details><summary>evidence</summary><pre>{evidence}</pre></details>")
                .expect(ROOM);
        }
        page.push_str("</body>\n</html>\n");
        Ok(page)
    }
}

const ROOM: &str = "BUG: a String takes all text";

fn section(passage: &Passage, colors: ColorMap) -> Result<String> {
    let limit = passage.limit()?;
    let mut html = String::from("<section>\n");
    if !passage.heading.is_empty() {
        writeln!(html, "<h2>{}</h2>", escape(&passage.heading)).expect(ROOM);
    }
    // The white space inside of the paragraph is the text's own.
    html.push_str("<p class=\"text\">");
    html.extend(passage.tokens.iter().map(|token| span(token, colors, limit)));
    html.push_str("</p>\n");
    html.push_str(&legend(colors, limit));
    html.push_str(
        "<details><summary>every token</summary><table>\n<tr><th>token</th><th>attribution</th></tr>\n",
    );
    for Token { text, value, .. } in &passage.tokens {
        let text = escape(text);
        writeln!(html, "<tr><td>{text}</td><td class=\"number\">{value:+.6e}</td></tr>").expect(ROOM);
    }
    html.push_str("</table></details>\n");
    if !passage.facts.is_empty() {
        html.push_str("<dl>\n");
        for Fact { name, value } in &passage.facts {
            writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value)).expect(ROOM);
        }
        html.push_str("</dl>\n");
    }
    html.push_str("</section>\n");
    Ok(html)
}

fn span(token: &Token, colors: ColorMap, limit: f64) -> String {
    let ground = color(colors, token.value, limit);
    let (text, before) = (escape(&token.text), escape(&token.before));
    let class = if token.is_special { "token special" } else { "token" };
    let (number, ground, ink) = (signed(token.value), hex(ground), hex(ink(ground)));
    format!(
        "{before}<span class=\"{class}\" tabindex=\"0\" data-value=\"{number}\" \
         style=\"background:{ground};color:{ink}\">{text}</span>"
    )
}

/// What the colours stand for, in words too.
fn legend(colors: ColorMap, limit: f64) -> String {
    let scale = gradient(colors);
    let (low, high) = match colors.is_diverging() {
        true => (format!("{} against", signed(-limit)), format!("{} for", signed(limit))),
        false => ("0".to_string(), signed(limit)),
    };
    format!(
        "<div class=\"legend\"><span>{low}</span><span class=\"scale\" role=\"img\" aria-label=\"colour scale from \
         {low} to {high}\" style=\"background:{scale}\"></span><span>{high}</span></div>\n"
    )
}

/// Three digits, with a sign unless it is zero.
fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", short(value)) } else { short(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::tests::passage;

    #[test]
    fn a_page_has_every_token_with_its_number() {
        let fact = Fact { name: "method".into(), value: "gradient".into() };
        let passage = Passage { facts: vec![fact], ..passage() };
        let page = Page { title: "cats".into(), passages: vec![passage], ..Page::default() };
        let html = page.html().unwrap();
        for part in [
            "<title>cats</title>",
            "<h2>what</h2>",
            "data-value=\"+0.5\" style=\"background:#67001f;color:#ffffff\">cat</span>",
            "class=\"token special\" tabindex=\"0\" data-value=\"0\"",
            // A continued word has no space before it.
            "cat</span><span",
            "-0.5 against",
            "<td>a</td><td class=\"number\">-2.500000e-1</td>",
            "<dt>method</dt><dd>gradient</dd>",
        ] {
            assert!(html.contains(part), "{part}\n{html}");
        }
        assert!(!html.contains("<details><summary>evidence") && !html.contains("http"));
    }

    #[test]
    fn nothing_of_a_text_is_markup() {
        let evil = "</pre><script>alert(\"1\" & '2')</script>";
        let token = Token { text: evil.into(), before: evil.into(), value: 1.0, is_special: false };
        let fact = Fact { name: evil.into(), value: evil.into() };
        let passage = Passage { heading: evil.into(), tokens: vec![token], facts: vec![fact] };
        let page =
            Page { title: evil.into(), passages: vec![passage], colors: None, evidence: evil.to_string() };
        let html = page.html().unwrap();
        assert!(!html.contains("<script") && !html.contains("alert(\""), "{html}");
        let escaped = "&lt;/pre&gt;&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;";
        assert_eq!(html.matches(escaped).count(), 9);
    }
}
