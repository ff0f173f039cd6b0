//! The messages of BuildKit's file transfer (`fsutil.types` in `wire.proto` and `stat.proto` of
//! tonistiigi/fsutil).
//!
//! Paths and links are declared as bytes here, where the protocol has strings: BuildKit sends and
//! takes names of files as they are, UTF-8 or not, and on the wire both are the same.

/// One message, in either direction.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Packet {
    #[prost(enumeration = "PacketType", tag = "1")]
    pub(crate) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) stat: Option<Stat>,
    #[prost(uint32, tag = "3")]
    pub(crate) id: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) data: Vec<u8>,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum PacketType {
    Stat = 0,
    Req = 1,
    Data = 2,
    Fin = 3,
    Err = 4,
}

/// What a file is.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Stat {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) path: Vec<u8>,
    /// Go's `fs.FileMode`.
    #[prost(uint32, tag = "2")]
    pub(crate) mode: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) uid: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) gid: u32,
    #[prost(int64, tag = "5")]
    pub(crate) size: i64,
    /// In nanoseconds since 1970.
    #[prost(int64, tag = "6")]
    pub(crate) mod_time: i64,
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) linkname: Vec<u8>,
    #[prost(int64, tag = "8")]
    pub(crate) devmajor: i64,
    #[prost(int64, tag = "9")]
    pub(crate) devminor: i64,
}

impl Packet {
    /// One that is no more than its kind, its number and its data.
    pub(crate) fn new(kind: PacketType, id: u32, data: Vec<u8>) -> Self {
        Self { kind: kind.into(), stat: None, id, data }
    }

    /// One that tells of a file.
    pub(crate) fn of(stat: Stat) -> Self {
        Self { stat: Some(stat), ..Self::new(PacketType::Stat, 0, Vec::new()) }
    }
}
