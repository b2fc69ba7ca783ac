//! `hostile`: many broken model files for the readers, each in a process that may die of it.
//!
//! Exit codes: 0 if all files kept the bounds, 1 at the first that does not; it is kept in `target/hostile`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use attr_hostile::{Reader, Seed, crafted, input};
use clap::Parser;

/// Many broken model files for the readers of networks and weights.
#[derive(Parser)]
struct Arguments {
    /// How many files: first the crafted ones and the seeds as they are, then changed seeds
    #[arg(long, default_value_t = 100_000)]
    count: usize,
    /// Which changes: the same number gives the same files
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many processes read at once; all processors if not given
    #[arg(long)]
    jobs: Option<usize>,
    /// A folder with more files to change
    #[arg(long)]
    seeds: Vec<PathBuf>,
    /// Instead of reading any, write the seeds of each fuzz target into this folder
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// How many bytes a crafted file has, about
    #[arg(long, default_value_t = crafted::SIZE)]
    size: usize,
    /// Only read the files from this number on, in steps of `jobs`, and report each
    #[arg(long, hide = true)]
    from: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (&arguments.corpus, arguments.from) {
        (Some(folder), _) => corpus(&arguments, folder).map(|()| true),
        (_, Some(from)) => work(&arguments, from).map(|()| true),
        _ => run(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What reads models.
const MODELS: [Reader; 4] = [Reader::Onnx, Reader::GraphDef, Reader::Program, Reader::Weights];

/// The files of the repository, and those of the folders that were named which open: what is refused as it is tells
/// little when it is changed.
fn seeds(arguments: &Arguments, readers: &[Reader]) -> std::io::Result<Vec<Seed>> {
    let mut seeds = Seed::of(readers)?;
    for folder in &arguments.seeds {
        seeds
            .extend(Seed::within(folder, readers)?.into_iter().filter(|seed| seed.unchanged().read().opened));
    }
    Ok(seeds)
}

/// No file of a corpus is larger than this, so that a fuzzer sees many a second.
const LARGEST_OF_CORPUS: usize = 32 << 10;

/// Writes what each fuzz target begins with: seeds that are small, and the crafted files made small.
fn corpus(arguments: &Arguments, folder: &Path) -> Result<(), Box<dyn Error>> {
    for reader in Reader::ALL {
        let folder = folder.join(reader.name());
        std::fs::create_dir_all(&folder)?;
        let seeds = seeds(arguments, &[reader])?;
        let seeds = seeds.into_iter().map(|seed| (seed.name, seed.bytes));
        let crafted = (0..).map_while(|number| crafted::file(number, 1 << 10));
        let crafted = crafted.filter(|(_, of, _)| *of == reader);
        let files = seeds.chain(crafted.map(|(name, _, bytes)| (name.to_string(), bytes)));
        let mut count = 0;
        for (name, bytes) in files.filter(|(_, bytes)| bytes.len() <= LARGEST_OF_CORPUS) {
            std::fs::write(folder.join(name.replace(['/', ' ', ':'], "-")), bytes)?;
            count += 1;
        }
        println!("{count} files in {}", folder.display());
    }
    Ok(())
}

/// Reads files one after another. Each is a line when it begins, its number, and one when it has been read.
fn work(arguments: &Arguments, from: usize) -> Result<(), Box<dyn Error>> {
    let seeds = seeds(arguments, &MODELS)?;
    let mut out = std::io::stdout().lock();
    for number in (from..arguments.count).step_by(arguments.jobs.unwrap_or(1)) {
        writeln!(out, "{number}")?;
        let input = input(&seeds, arguments.seed, number, arguments.size);
        // A panic ends the process, with a message of its own.
        let reading = input.read();
        let (opened, peak, bound) = (reading.opened, reading.peak, reading.bound);
        writeln!(out, "{number} {opened} {peak} {bound} {}", reading.time.as_micros())?;
    }
    Ok(())
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    files: usize,
    opened: usize,
    peak: Largest,
    share: Largest,
    micros: Largest,
}

/// The largest of some numbers, and which file it is of.
#[derive(Default, Clone, Copy)]
struct Largest {
    value: f64,
    file: usize,
}

impl Largest {
    fn see(&mut self, value: f64, file: usize) {
        if value > self.value {
            *self = Largest { value, file };
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let seeds = seeds(arguments, &MODELS)?;
    if arguments.count < crafted::COUNT + seeds.len() {
        return Err(format!("count: expected at least {}", crafted::COUNT + seeds.len()).into());
    }
    let jobs = arguments.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let begun = Instant::now();
    let mut seen = Seen::default();
    let mut workers =
        (0..jobs).map(|from| Worker::new(arguments, from, jobs)).collect::<Result<Vec<_>, _>>()?;
    let mut failed = None;
    'all: while !workers.is_empty() {
        for worker in &mut workers {
            match worker.next(&mut seen)? {
                Next::Line => {}
                Next::End => worker.done = true,
                Next::Failed(reason) => {
                    failed = Some((worker.current, reason));
                    break 'all;
                }
            }
        }
        workers.retain(|worker| !worker.done);
    }
    let name =
        |file: usize| format!("file {file}, {}", input(&seeds, arguments.seed, file, arguments.size).name);
    println!(
        "{} files read in {:.0} s: {} crafted, {} seeds, {} changed; {} opened, {} refused",
        seen.files,
        begun.elapsed().as_secs_f64(),
        crafted::COUNT,
        seeds.len(),
        seen.files.saturating_sub(crafted::COUNT + seeds.len()),
        seen.opened,
        seen.files - seen.opened,
    );
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    println!("most memory at once: {:.1} MiB ({})", mib(seen.peak.value), name(seen.peak.file));
    println!("nearest to its bound: {:.0} % of it ({})", 100.0 * seen.share.value, name(seen.share.file));
    println!("longest: {:.0} ms ({})", seen.micros.value / 1000.0, name(seen.micros.file));
    let Some((number, reason)) = failed else { return Ok(true) };
    let input = input(&seeds, arguments.seed, number, arguments.size);
    let kept = folder()?.join(format!("{}-{number}", arguments.seed));
    std::fs::write(&kept, &input.bytes)?;
    eprintln!("error: file {number}, {}: {reason}; kept in {}", input.name, kept.display());
    Ok(false)
}

fn folder() -> std::io::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    let folder = target.join("hostile");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A process that says nothing for so long hangs, however busy the machine is.
const HANGING: Duration = Duration::from_secs(300);

/// A process that reads files.
struct Worker {
    child: Child,
    lines: Receiver<std::io::Result<String>>,
    /// The file that it reads.
    current: usize,
    done: bool,
}

enum Next {
    Line,
    End,
    Failed(String),
}

impl Worker {
    fn new(arguments: &Arguments, from: usize, jobs: usize) -> std::io::Result<Self> {
        let numbers =
            [("--count", arguments.count), ("--size", arguments.size), ("--jobs", jobs), ("--from", from)]
                .map(|(k, v)| format!("{k}={v}"));
        let mut child = Command::new(std::env::current_exe()?)
            .args(numbers)
            .arg(format!("--seed={}", arguments.seed))
            .args(arguments.seeds.iter().flat_map(|folder| ["--seeds".as_ref(), folder.as_os_str()]))
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().expect("BUG: the output is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || BufReader::new(out).lines().try_for_each(|line| sender.send(line)));
        Ok(Worker { child, lines, current: from, done: false })
    }

    /// Takes the next line, or says how it ended.
    fn next(&mut self, seen: &mut Seen) -> Result<Next, Box<dyn Error>> {
        let line = match self.lines.recv_timeout(HANGING) {
            Ok(line) => line?,
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait()?;
                return Ok(if status.success() { Next::End } else { Next::Failed(status.to_string()) });
            }
            Err(RecvTimeoutError::Timeout) => {
                self.child.kill()?;
                return Ok(Next::Failed("is being read for too long".into()));
            }
        };
        let words: Vec<_> = line.split(' ').collect();
        let (number, rest) = words.split_first().ok_or("BUG: an empty line")?;
        self.current = number.parse()?;
        if let [opened, peak, bound, micros] = rest {
            let (peak, bound): (f64, f64) = (peak.parse()?, bound.parse()?);
            seen.files += 1;
            seen.opened += usize::from(*opened == "true");
            seen.peak.see(peak, self.current);
            seen.share.see(peak / bound, self.current);
            seen.micros.see(micros.parse()?, self.current);
        }
        Ok(Next::Line)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Nothing is left to do for one that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
