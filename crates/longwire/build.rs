//! Lists the files under `pages/` and the JavaScript client, to be embedded in the binary with their addresses and entity tags;
//! and takes a program out of the README, so that a test can run it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const README: &str = "../../README.md";

/// The client as one file, for pages without a build step; made from its sources by `npm run build` in `clients/js`.
const CLIENT: &str = "../../clients/js/dist/longwire.min.js";

fn main() -> io::Result<()> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let mut pages = BTreeMap::from([("/longwire.js".to_owned(), package.join(CLIENT))]);
    let root = package.join("pages");
    for (folder, address) in [(root.clone(), "/"), (root.join("demo"), "/demo/")] {
        for path in files(&folder)? {
            if path.extension().is_some_and(|extension| extension == "html") {
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                pages.insert(format!("{address}{}", if stem == "index" { "" } else { stem }), path);
            }
        }
    }
    for path in files(&root.join("assets"))? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        pages.insert(format!("/assets/{name}"), path);
    }
    let mut list = String::from("&[\n");
    for (address, path) in pages {
        println!("cargo:rerun-if-changed={}", path.display());
        let body = fs::read(&path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        let (kind, tag) = (content_type(&path), entity_tag(&body));
        let path = path.display();
        list += &format!(
            "    Page {{ address: {address:?}, kind: {kind:?}, tag: {tag:?}, body: include_bytes!({:?}) }},\n",
            path.to_string()
        );
    }
    list += "]\n";
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    fs::write(out.join("readme_axum.rs"), readme_program(&package.join(README), "axum")?)?;
    fs::write(out.join("pages.rs"), list)
}

/// The program in the README that uses `word`, for a test that runs it: it listens where the variable LISTEN says.
fn readme_program(readme: &Path, word: &str) -> io::Result<String> {
    println!("cargo:rerun-if-changed={}", readme.display());
    let text = fs::read_to_string(readme)?;
    let blocks = text.split("```rust").skip(1).filter_map(|rest| rest.split_once('\n')?.1.split_once("```"));
    let program = blocks.map(|(program, _)| program).find(|program| program.contains(&format!("use {word}")));
    let program = program.ok_or_else(|| io::Error::other(format!("the README has no program with {word}")))?;
    Ok(program.replace(r#""127.0.0.1:8000""#, r#"std::env::var("LISTEN")?"#))
}

/// The files of a folder, without those in folders below it. A new one is noticed.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    println!("cargo:rerun-if-changed={}", folder.display());
    let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_file()).collect())
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        other => panic!("pages/: no content type is known for {other:?}; add it to build.rs"),
    }
}

fn entity_tag(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
