//! Many expressions as one program over columns.
//!
//! A mask cannot hold "unknown". So `!` is pushed down to the tests, and every test is asked separately whether it is
//! known to be true or known to be false: a session that lacks the value is in neither mask, and `!` cannot turn what
//! is unknown into what is true. Tests that several expressions share are evaluated once a run, and only if wanted.

use hashbrown::HashMap;

use super::Expr;
use super::ast::{Condition, Test};
use super::columns::Leaf;
use super::mask::Mask;
use crate::policy::field::Field;
use crate::policy::session::Sessions;

/// Which sessions an expression is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Those for which it is known to be true: whom a rule names.
    KnownTrue,
    /// Those for which it is known to be false: whom a protection does not cover.
    KnownFalse,
    /// Those for which it would be true if every test that only lacks `ip` went its way: whom a rule might name if
    /// it knew the true address. It contains [`Want::KnownTrue`].
    TrueWereIpKnown,
}

/// Expressions compiled to run together over the sessions of a node.
#[derive(Clone, Debug)]
pub struct Program {
    leaves: Vec<Leaf>,
    slots: Vec<Node>,
}

/// An expression without `!`.
#[derive(Clone, Debug)]
enum Node {
    Constant(bool),
    Leaf(usize),
    All(Vec<Node>),
    Any(Vec<Node>),
}

impl Program {
    /// Compiles what is wanted of each expression into one slot.
    #[must_use]
    pub fn compile(wanted: &[(&Expr, Want)]) -> Self {
        let mut lowering = Lowering { leaves: Vec::new(), known: HashMap::new(), assume_ip: false };
        let mut slots = Vec::with_capacity(wanted.len());
        for (expr, want) in wanted {
            lowering.assume_ip = *want == Want::TrueWereIpKnown;
            let positive = *want != Want::KnownFalse;
            let clauses = expr.clauses().iter().map(|(_, condition)| lowering.condition(condition, positive)).collect();
            slots.push(lowering.join(clauses, positive));
        }
        Self { leaves: lowering.leaves, slots }
    }

    /// Evaluates the slots that `wanted` asks for, over all sessions; the others answer none.
    #[must_use]
    pub fn run(&self, sessions: &Sessions, wanted: &dyn Fn(usize) -> bool) -> Vec<Option<Mask>> {
        let mut run = Run { leaves: &self.leaves, masks: vec![None; self.leaves.len()], sessions };
        self.slots.iter().enumerate().map(|(slot, node)| wanted(slot).then(|| run.node(node))).collect()
    }
}

struct Lowering {
    leaves: Vec<Leaf>,
    known: HashMap<Leaf, usize>,
    assume_ip: bool,
}

impl Lowering {
    /// When `condition` is known to be `positive`. Recurses as deep as the tree, which the lexer has capped.
    fn condition(&mut self, condition: &Condition, positive: bool) -> Node {
        match condition {
            Condition::Constant(value) => Node::Constant(*value == positive),
            Condition::Not(inner) => self.condition(inner, !positive),
            Condition::All(parts) => {
                let parts = parts.iter().map(|part| self.condition(part, positive)).collect();
                self.join(parts, positive)
            }
            Condition::Any(parts) => {
                let parts = parts.iter().map(|part| self.condition(part, positive)).collect();
                self.join(parts, !positive)
            }
            Condition::Test(test) => self.test(test, positive),
        }
    }

    fn test(&mut self, test: &Test, positive: bool) -> Node {
        let known = self.leaf(Leaf::of(test, positive));
        let needs = test.needs();
        if !self.assume_ip || !needs.contains(Field::Ip) {
            return known;
        }
        let mut only_ip_missing = vec![self.leaf(Some(Leaf::Has(Field::Ip, false)))];
        for other in needs.iter().filter(|field| *field != Field::Ip) {
            only_ip_missing.push(self.leaf(Some(Leaf::Has(other, true))));
        }
        let only_ip_missing = self.join(only_ip_missing, true);
        self.join(vec![known, only_ip_missing], false)
    }

    fn leaf(&mut self, leaf: Option<Leaf>) -> Node {
        let Some(leaf) = leaf else { return Node::Constant(false) };
        let next = self.leaves.len();
        let index = *self.known.entry(leaf).or_insert_with_key(|leaf| {
            self.leaves.push(leaf.clone());
            next
        });
        Node::Leaf(index)
    }

    /// All of `parts`, or any of them, the quick ones first.
    fn join(&self, mut parts: Vec<Node>, all: bool) -> Node {
        let decides = |node: &Node| matches!(node, Node::Constant(value) if *value != all);
        if parts.iter().any(decides) {
            return Node::Constant(!all);
        }
        parts.retain(|node| !matches!(node, Node::Constant(_)));
        parts.sort_by_key(|node| self.cost(node));
        match (parts.len(), all) {
            (0, _) => Node::Constant(all),
            (1, _) => parts.remove(0),
            (_, true) => Node::All(parts),
            (_, false) => Node::Any(parts),
        }
    }

    fn cost(&self, node: &Node) -> u32 {
        match node {
            Node::Constant(_) => 0,
            Node::Leaf(index) => self.leaves[*index].cost(),
            Node::All(parts) | Node::Any(parts) => parts.iter().map(|part| self.cost(part)).sum(),
        }
    }
}

struct Run<'a> {
    leaves: &'a [Leaf],
    masks: Vec<Option<Mask>>,
    sessions: &'a Sessions,
}

impl Run<'_> {
    fn node(&mut self, node: &Node) -> Mask {
        match node {
            Node::Constant(true) => Mask::all(self.sessions.len()),
            Node::Constant(false) => Mask::none(self.sessions.len()),
            Node::Leaf(index) => self.leaf(*index).clone(),
            Node::All(parts) => self.fold(parts, Mask::and, Mask::is_empty),
            Node::Any(parts) => self.fold(parts, Mask::or, |_| false),
        }
    }

    fn leaf(&mut self, index: usize) -> &Mask {
        self.masks[index].get_or_insert_with(|| self.leaves[index].mask(self.sessions))
    }

    /// Combines the masks of `parts`, until the answer is `settled`.
    fn fold(&mut self, parts: &[Node], combine: fn(&mut Mask, &Mask), settled: fn(&Mask) -> bool) -> Mask {
        let Some((first, rest)) = parts.split_first() else { return Mask::none(self.sessions.len()) };
        let mut mask = self.node(first);
        for part in rest {
            if settled(&mask) {
                break;
            }
            match part {
                Node::Leaf(index) => combine(&mut mask, self.leaf(*index)),
                Node::Constant(_) | Node::All(_) | Node::Any(_) => combine(&mut mask, &self.node(part)),
            }
        }
        mask
    }
}
