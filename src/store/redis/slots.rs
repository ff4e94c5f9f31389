//! Who owns which part of a cluster, as its nodes say.

use std::{collections::BTreeMap, ops::RangeInclusive};

use redis::{FromRedisValue as _, RedisError, Value};

use super::{keys::Tag, servers::Node};
use crate::store::Partition;

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// The slots of one master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slots(Vec<RangeInclusive<u16>>);

impl Slots {
    fn contain(&self, slot: u16) -> bool {
        self.0.iter().any(|range| range.contains(&slot))
    }

    /// The first number from `from` on that is a hash tag of one of these slots, and if there are others, of none that a
    /// partition lies in: while such a slot is on the move, nothing new can be written to it. `None` where nothing is owned.
    pub(super) fn tag(&self, from: u32) -> Option<u32> {
        let ours: Vec<u16> = Partition::all().map(slot_of_partition).collect();
        let has_others = self.0.iter().cloned().flatten().any(|slot| !ours.contains(&slot));
        let fits = |tag: &u32| {
            let slot = slot_of(tag.to_string().as_bytes());
            self.contain(slot) && !(has_others && ours.contains(&slot))
        };
        (from..from.saturating_add(1_000_000)).find(fits)
    }
}

/// One node's view of the cluster.
pub(super) struct View {
    pub(super) masters: Vec<(Node, Slots)>,
    /// All of whom it knows, replicas too.
    pub(super) nodes: Vec<Node>,
    /// Whether it thinks that the cluster works, and how late in its history it is.
    pub(super) age: (bool, u64),
}

impl View {
    /// From the answers to `CLUSTER INFO` and `CLUSTER SLOTS`. A node may not know its own host.
    pub(super) fn read(info: &str, slots: Value, asked: &Node) -> Result<Self, RedisError> {
        let of = |name| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let age = (of("cluster_state:") == "ok", of("cluster_current_epoch:").parse().unwrap_or_default());
        let mut masters: BTreeMap<(String, u16), Vec<RangeInclusive<u16>>> = BTreeMap::new();
        let mut nodes = Vec::new();
        for entry in Vec::<Vec<Value>>::from_redis_value(slots)? {
            let mut entry = entry.into_iter();
            let (Some(first), Some(last)) = (entry.next(), entry.next()) else { continue };
            let range = u16::from_redis_value(first)?..=u16::from_redis_value(last)?;
            for (number, node) in entry.enumerate() {
                let mut node = Vec::<Value>::from_redis_value(node)?.into_iter();
                let (Some(host), Some(port)) = (node.next(), node.next()) else { continue };
                let host = Option::<String>::from_redis_value(host)?.filter(|host| !host.is_empty() && host != "?");
                let node = Node { host: host.unwrap_or_else(|| asked.host.clone()), port: u16::from_redis_value(port)? };
                if number == 0 {
                    masters.entry((node.host.clone(), node.port)).or_default().push(range.clone());
                }
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
        }
        let masters = masters.into_iter().map(|((host, port), ranges)| (Node { host, port }, Slots(ranges))).collect();
        Ok(Self { masters, nodes, age })
    }

    /// The masters that own something of ours, and what.
    pub(super) fn owners(&self) -> Vec<(&Node, &Slots, Vec<Partition>)> {
        let of = |slots: &Slots| Partition::all().filter(|&partition| slots.contain(slot_of_partition(partition))).collect();
        let owners = self.masters.iter().map(|(node, slots)| (node, slots, of(slots)));
        owners.filter(|(_, _, partitions): &(_, _, Vec<Partition>)| !partitions.is_empty()).collect()
    }
}

fn slot_of_partition(partition: Partition) -> u16 {
    slot_of(Tag(partition).to_string().as_bytes())
}

/// CRC-16/XMODEM, as the specification of Redis Cluster has it.
fn slot_of(tag: &[u8]) -> u16 {
    let crc = tag.iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` answers.
        assert_eq!([b"123456789".as_slice(), b"foo", b"d", b""].map(slot_of), [12_739, 12_182, 11_298, 0]);
    }

    #[test]
    fn the_tag_of_a_canary_lies_with_the_master_and_not_where_records_do() {
        for slots in [Slots(vec![0..=SLOTS - 1]), Slots(vec![0..=10, 7_000..=7_100])] {
            let first = slots.tag(0).unwrap();
            let second = slots.tag(first + 1).unwrap();
            for tag in [first, second] {
                let slot = slot_of(tag.to_string().as_bytes());
                assert!(slots.contain(slot) && Partition::all().all(|partition| slot_of_partition(partition) != slot));
            }
        }
        let ours = slot_of_partition(Partition::DIRECTORY);
        let only = Slots(vec![ours..=ours]).tag(0).unwrap();
        assert_eq!(slot_of(only.to_string().as_bytes()), ours);
        assert_eq!(Slots(Vec::new()).tag(0), None);
    }

    #[test]
    fn views_are_read_as_nodes_give_them() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id")]);
        let range = |first, last, nodes: Vec<Value>| Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat());
        let slots = Value::Array(vec![
            range(0, 8_191, vec![node(text("10.0.0.1"), 1), node(text("10.0.0.2"), 2)]),
            range(8_192, 16_383, vec![node(Value::Nil, 3)]),
        ]);
        let info = "cluster_state:ok\r\ncluster_current_epoch:7\r\n";
        let asked = Node { host: "asked".to_owned(), port: 9 };
        let view = View::read(info, slots, &asked).unwrap();
        assert_eq!(view.age, (true, 7));
        assert_eq!(view.nodes.iter().map(|node| node.host.as_str()).collect::<Vec<_>>(), ["10.0.0.1", "10.0.0.2", "asked"]);
        let owners = view.owners();
        assert_eq!(owners.iter().map(|(node, ..)| node.port).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(owners.iter().map(|(_, _, partitions)| partitions.len()).sum::<usize>(), Partition::COUNT);
        assert!(owners[1].2.contains(&Partition::DIRECTORY));
    }
}
