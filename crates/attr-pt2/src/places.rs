//! Where values are: operators that work in place change what others see, and views share the numbers of another value.

use std::collections::{BTreeSet, HashMap};

use crate::call::Fault;
use crate::schema::Node;

/// A view of more views than this is not changed in place.
const MOST_VIEWS: usize = 32;

/// The places of a program's values. What was changed in place is where its old value was; a view has a place of its own.
#[derive(Default)]
pub(crate) struct Places<'a> {
    of: HashMap<&'a str, usize>,
    places: Vec<Place<'a>>,
    /// By the place that has the numbers: all places that share them, each with the last operator that reads it.
    sharing: HashMap<usize, BTreeSet<(usize, usize)>>,
    /// Which operator is the last to read a value.
    last_read: HashMap<&'a str, usize>,
}

struct Place<'a> {
    /// The value that is there now.
    value: String,
    /// The last operator that reads any value that was there; 0 if none does.
    last_read: usize,
    /// The place whose numbers it has: itself, if it is no view.
    base: usize,
    /// What it is a view of, and by which operator.
    view: Option<View<'a>>,
}

/// How a value is a view of another one.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) node: &'a Node,
    pub(crate) parent: &'a str,
    /// The parent's place, which is older than the view's.
    place: usize,
}

impl<'a> Places<'a> {
    /// Nothing has changed; the last operator that reads each value is known.
    pub(crate) fn new(last_read: HashMap<&'a str, usize>) -> Self {
        Places { last_read, ..Places::default() }
    }

    /// Whether any operator reads a value.
    pub(crate) fn is_read(&self, name: &str) -> bool {
        self.last_read.contains_key(name)
    }

    /// The name of a value as it is now.
    pub(crate) fn current<'n>(&'n self, name: &'n str) -> &'n str {
        self.of.get(name).map_or(name, |&place| &self.places[place].value)
    }

    /// Where a value is.
    fn place(&mut self, name: &'a str) -> usize {
        if let Some(&place) = self.of.get(name) {
            return place;
        }
        self.add(name, self.places.len(), None)
    }

    fn add(&mut self, name: &'a str, base: usize, view: Option<View<'a>>) -> usize {
        let place = self.places.len();
        let last_read = self.last_read.get(name).copied().unwrap_or(0);
        self.places.push(Place { value: name.into(), last_read, base, view });
        self.sharing.entry(base).or_default().insert((last_read, place));
        self.of.insert(name, place);
        place
    }

    /// From here on there is a value where this one was.
    pub(crate) fn set(&mut self, name: &'a str, value: String) {
        let place = self.place(name);
        self.places[place].value = value;
    }

    /// A value shares the numbers of another one, its parent.
    pub(crate) fn view(&mut self, name: &'a str, node: &'a Node, parent: &'a str) {
        let place = self.place(parent);
        self.add(name, self.places[place].base, Some(View { node, parent, place }));
    }

    /// From here on, operator `at`, whoever reads `old` sees `new`. Other views of the same numbers don't, so nothing may
    /// read one any more; but for those that `old` is a view of, which are given, the innermost first, as far as something
    /// reads them or what they are views of.
    pub(crate) fn change(&mut self, at: usize, old: &'a str, new: &'a str) -> Result<Vec<View<'a>>, Fault> {
        let first = self.place(old);
        let (mut chain, mut views) = (vec![first], Vec::new());
        while let Some(view) = self.places[chain[chain.len() - 1]].view {
            chain.push(view.place);
            views.push(view);
            if views.len() >= MOST_VIEWS {
                return Err(Fault::Unsupported("in place, of a view of very many views".into()));
            }
        }
        let base = self.places[first].base;
        let sharing = self.sharing.entry(base).or_default();
        let mut read = sharing.iter().rev().take_while(|(last, _)| *last > at);
        if read.any(|(_, place)| !chain.contains(place)) {
            return Err(Fault::Unsupported("in place, of numbers that another value has, too".into()));
        }
        let place = &mut self.places[first];
        sharing.remove(&(place.last_read, first));
        place.last_read = place.last_read.max(self.last_read.get(new).copied().unwrap_or(0));
        sharing.insert((place.last_read, first));
        place.value = new.into();
        self.of.insert(new, first);
        let is_read = |place: &usize| self.places[*place].last_read > at;
        let seen = chain.iter().rposition(is_read).unwrap_or(0);
        views.truncate(seen);
        Ok(views)
    }
}
