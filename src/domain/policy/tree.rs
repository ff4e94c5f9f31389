//! Rules by where they stand: a tree of path segments, and at each place the rules in their order. Finding the
//! rules for a path costs its depth, not their number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use smallvec::SmallVec;

use super::{Rule, pattern::Piece};
use crate::domain::request::CheckRequest;

/// Those at which rules for a path may stand. Seldom more, so that a check asks for no memory.
pub(super) type Leaves<'p> = SmallVec<[&'p Leaf; 8]>;

/// By names out of the policy, of which nobody can send more: so a quick hash will do.
pub(super) type Places<T> = HashMap<String, T, foldhash::fast::RandomState>;

/// The rules at one place of a path tree.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    /// Rules without a query, in order.
    plain: Vec<usize>,
    /// Rules with a query, by the first parameter they ask for and its value, in order.
    by_query: BTreeMap<String, Places<Vec<usize>>>,
    /// For each set of methods, the first rule that reads the query and minds the body.
    minds_body: Vec<(Option<BTreeSet<String>>, usize)>,
    /// The first rule whose meaning depends on the method.
    pub(super) minds_method: Option<usize>,
}

impl Leaf {
    /// Rules are added in order, so the first of each kind stays.
    fn add(&mut self, index: usize, rule: &Rule) {
        match rule.matcher.query.iter().next() {
            Some((name, value)) => {
                let values = self.by_query.entry(name.clone()).or_default();
                values.entry(value.clone()).or_default().push(index);
            }
            None => self.plain.push(index),
        }
        if rule.reads_query() && !rule.body_ignored && !self.minds_body.iter().any(|(methods, _)| *methods == rule.matcher.methods)
        {
            self.minds_body.push((rule.matcher.methods.clone(), index));
        }
        if rule.depends_on_method() && self.minds_method.is_none() {
            self.minds_method = Some(index);
        }
    }

    pub(super) fn first_match(&self, rules: &[Rule], request: &CheckRequest<'_>) -> Option<usize> {
        let first = |indexes: &[usize]| indexes.iter().copied().find(|index| rules[*index].matches_rest(request));
        let by_query = self.by_query.iter().filter_map(|(name, values)| {
            let value = request.query.get(name).ok()??;
            first(values.get(value)?)
        });
        by_query.chain(first(&self.plain)).min()
    }

    pub(super) fn first_minding_body(&self, method: &str) -> Option<usize> {
        let takes = |methods: &Option<BTreeSet<String>>| methods.as_ref().is_none_or(|methods| methods.contains(method));
        self.minds_body.iter().filter(|(methods, _)| takes(methods)).map(|(_, index)| *index).min()
    }
}

/// Rules by path.
#[derive(Debug, Default)]
pub(super) struct PathTree {
    literals: Places<PathTree>,
    capture: Option<Box<PathTree>>,
    here: Leaf,
    here_and_below: Leaf,
}

impl PathTree {
    pub(super) fn add(&mut self, index: usize, rule: &Rule) {
        let (pieces, tail) = rule.matcher.path.as_ref().map_or((&[][..], true), |path| (&path.pieces[..], path.tail));
        let mut node = self;
        for piece in pieces {
            node = match piece {
                Piece::Literal(literal) => node.literals.entry(literal.clone()).or_default(),
                Piece::Capture(_) => node.capture.get_or_insert_default(),
            };
        }
        let leaf = if tail { &mut node.here_and_below } else { &mut node.here };
        leaf.add(index, rule);
    }

    /// Every leaf whose pattern matches the path.
    pub(super) fn collect<'p>(&'p self, segments: &[impl AsRef<str>], leaves: &mut Leaves<'p>) {
        leaves.push(&self.here_and_below);
        let Some((segment, rest)) = segments.split_first() else {
            leaves.push(&self.here);
            return;
        };
        if let Some(node) = self.literals.get(segment.as_ref()) {
            node.collect(rest, leaves);
        }
        if let Some(node) = self.capture.as_ref().filter(|_| !segment.as_ref().is_empty()) {
            node.collect(rest, leaves);
        }
    }
}
