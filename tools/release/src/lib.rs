//! The release document: the one JSON object that the tools pass along.
