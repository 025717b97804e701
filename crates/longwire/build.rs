//! Lists the files under `pages/`, to be embedded in the binary with their addresses and entity tags.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo")).join("pages");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(&root)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "html") {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            pages.insert(if stem == "index" { "/".to_owned() } else { format!("/{stem}") }, path);
        }
    }
    for entry in fs::read_dir(root.join("assets"))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        pages.insert(format!("/assets/{name}"), path);
    }
    let mut list = String::from("&[\n");
    for (address, path) in pages {
        println!("cargo:rerun-if-changed={}", path.display());
        let (kind, tag) = (content_type(&path), entity_tag(&fs::read(&path)?));
        let path = path.display();
        list += &format!(
            "    Page {{ address: {address:?}, kind: {kind:?}, tag: {tag:?}, body: include_bytes!({:?}) }},\n",
            path.to_string()
        );
    }
    list += "]\n";
    fs::write(Path::new(&env::var_os("OUT_DIR").expect("set by cargo")).join("pages.rs"), list)
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
