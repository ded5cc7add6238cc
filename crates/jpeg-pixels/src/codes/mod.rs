//! Compressed data: bits, and the Huffman codes that they are.

pub(crate) mod bits;
pub(crate) mod huffman;
pub(crate) mod standard_tables;
