//! Makes the error and close codes from `codes.toml`.

use std::path::Path;
use std::{env, fs, io};

use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    error: Vec<Error>,
    close: Vec<Close>,
}

#[derive(Deserialize)]
struct Error {
    code: u16,
    name: String,
    retry: bool,
    status: u16,
    text: String,
}

#[derive(Deserialize)]
struct Close {
    code: u16,
    name: String,
    text: String,
}

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=codes.toml");
    let Table { error, close } = toml::from_str(&fs::read_to_string("codes.toml")?).map_err(io::Error::other)?;
    let errors: Vec<_> = error
        .iter()
        .map(|Error { code, name, retry, status, text }| {
            format!("    {text:?}, {}, {code}, {name:?}, {retry}, {status};\n", camel(name))
        })
        .collect();
    let closes: Vec<_> =
        close.iter().map(|Close { code, name, text }| format!("    {text:?}, {}, {code}, {name:?};\n", camel(name))).collect();
    let rust = format!("errors! {{\n{}}}\ncloses! {{\n{}}}\n", errors.concat(), closes.concat());
    fs::write(Path::new(&env::var_os("OUT_DIR").expect("set by cargo")).join("codes.rs"), rust)
}

fn camel(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
