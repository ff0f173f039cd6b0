//! Prints the JSON Schema of the release document, with the settings of all five tools.

fn main() {
    println!("{:#}", slipway_tests::schema());
}
