//! Builds what is ours and installs the peers, all of it below `target` and `.cache/bench`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::servers::Server;

/// The crate that carries the sources of uWebSockets and uSockets; only its sources are used.
const UWEBSOCKETS_CRATE: &str = "libuwebsockets-sys";
const UWEBSOCKETS_CRATE_VERSION: &str = "0.0.10";
const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
/// Debian asks this script whether a freshly installed service may be started.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// Where things are.
pub(crate) struct Workshop {
    root: PathBuf,
    /// `target/dist`, or what the build was told to use instead.
    binaries: PathBuf,
    /// Whether to build what is ours, or to take what is there.
    builds: bool,
}

impl Workshop {
    pub(crate) fn find(builds: bool) -> Result<Self, Failure> {
        let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))?;
        let program = std::env::current_exe()?;
        let binaries = program.parent().ok_or("this program lies in no folder")?.to_owned();
        let workshop = Self { root, binaries, builds };
        fs::create_dir_all(workshop.cache())?;
        Ok(workshop)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the peers' sources.
    pub(crate) fn peers(&self) -> PathBuf {
        self.root.join("bench/peers")
    }

    /// The folder for all that is installed, generated or logged.
    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join(".cache/bench")
    }

    /// Where the durable server keeps its data. The disk is measured beside it.
    pub(crate) fn data(&self) -> PathBuf {
        self.cache().join("data")
    }

    /// A program that cargo has built for production.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// Builds the load generator.
    pub(crate) fn build_load(&self) -> Result<(), Failure> {
        self.cargo_build(&["-p", "longwire-bench", "--example", "longwire-bench"])
    }

    /// Builds or installs what a server needs. Quick when it is there already.
    pub(crate) fn prepare(&self, server: Server) -> Result<(), Failure> {
        match server {
            Server::Longwire => self.cargo_build(&["-p", "longwire", "--example", "broadcast"]),
            Server::Channels | Server::Durable => self.cargo_build(&["-p", "longwire", "--bin", "longwire"]),
            Server::Floor | Server::PlainFloor => self.cargo_build(&["-p", "longwire-bench-peers", "--bin", "floor"]),
            Server::Tungstenite => self.cargo_build(&["-p", "longwire-bench-peers", "--bin", "tungstenite"]),
            Server::UWebSockets => self.compile_uwebsockets(),
            Server::Ws | Server::SocketIoNode => self.install_node(),
            Server::SocketIo => self.cargo_build(&["-p", "longwire", "--example", "socketio_fanout"]),
            Server::Socketioxide | Server::SocketioxideWorkers => {
                self.cargo_build(&["-p", "longwire-bench-peers", "--bin", "socketioxide"])
            }
            Server::Fastapi => self.install_python(),
            Server::Socketify => {
                if run(Command::new("sh").args(["-c", "ldconfig -p | grep -q libuv.so.1"])).is_err() {
                    apt_install(&["libuv1"])?;
                }
                self.install_python()
            }
            Server::Nchan if Path::new(NCHAN_MODULE).exists() => Ok(()),
            Server::Nchan => apt_install(&["nginx", "libnginx-mod-nchan"]),
        }
    }

    /// What exactly was measured, for the results.
    pub(crate) fn version(&self, server: Server) -> Result<String, Failure> {
        let peers = self.peers();
        match server {
            Server::Longwire | Server::Channels | Server::Durable | Server::SocketIo | Server::Floor | Server::PlainFloor => {
                Ok(format!("longwire {}", env!("CARGO_PKG_VERSION")))
            }
            Server::Tungstenite => self.crate_versions(&["tokio-tungstenite", "tokio"]),
            Server::Socketioxide | Server::SocketioxideWorkers => self.crate_versions(&["socketioxide", "axum", "tokio"]),
            Server::UWebSockets => Ok(format!(
                "the sources in crate {UWEBSOCKETS_CRATE} {UWEBSOCKETS_CRATE_VERSION}, {}",
                first_line(Command::new("g++").arg("--version"))?
            )),
            Server::Ws | Server::SocketIoNode => {
                let package: serde_json::Value = serde_json::from_str(&fs::read_to_string(peers.join("node/package.json"))?)?;
                let version = |name: &str| package["dependencies"][name].as_str().unwrap_or("?").to_owned();
                let name = if server == Server::Ws { "ws" } else { "socket.io" };
                let node = first_line(Command::new("node").arg("--version"))?;
                Ok(format!("{name} {}, bufferutil {}, Node.js {node}", version(name), version("bufferutil")))
            }
            Server::Socketify | Server::Fastapi => {
                let requirements = fs::read_to_string(peers.join("python/requirements.txt"))?;
                let wanted: &[&str] =
                    if server == Server::Fastapi { &["fastapi", "uvicorn", "websockets", "uvloop"] } else { &["socketify"] };
                let mut versions = vec![];
                for (name, version) in requirements.lines().filter_map(|line| line.split_once("==")) {
                    if wanted.contains(&name) {
                        versions.push(format!("{name} {version}"));
                    }
                }
                versions.push(first_line(Command::new("python3").arg("--version"))?);
                Ok(versions.join(", "))
            }
            Server::Nchan => {
                let mut query = Command::new("dpkg-query");
                query.args(["--show", "--showformat", "${Package} ${Version}, ", "nginx", "libnginx-mod-nchan"]);
                Ok(first_line(&mut query)?.trim_end_matches(", ").to_owned())
            }
        }
    }

    /// The versions of crates that a server of ours was built with.
    fn crate_versions(&self, names: &[&str]) -> Result<String, Failure> {
        let lock = fs::read_to_string(self.root.join("Cargo.lock"))?;
        let version = |name: &str| {
            let entry = format!("name = \"{name}\"\nversion = \"");
            lock.split_once(&entry).and_then(|(_, rest)| rest.split('"').next()).unwrap_or("?").to_owned()
        };
        Ok(names.iter().map(|name| format!("{name} {}", version(name))).collect::<Vec<_>>().join(", "))
    }

    fn cargo_build(&self, what: &[&str]) -> Result<(), Failure> {
        if !self.builds {
            return Ok(());
        }
        let target = self.binaries.parent().ok_or("cargo's target folder is missing")?;
        run(cargo()
            .current_dir(&self.root)
            .args(["build", "--quiet", "--profile", "dist"])
            .args(what)
            .arg("--target-dir")
            .arg(target))
    }

    fn install_node(&self) -> Result<(), Failure> {
        let folder = self.cache().join("node");
        let stamp = Stamp::of(&folder, &self.peers().join("node/package-lock.json"))?;
        for file in ["package.json", "package-lock.json", "ws.mjs", "socketio.mjs"] {
            fs::copy(self.peers().join("node").join(file), folder.join(file))?;
        }
        stamp.once(|| {
            let mut install = Command::new("npm");
            install.args(["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]);
            run(install.current_dir(&folder))
        })
    }

    fn install_python(&self) -> Result<(), Failure> {
        let folder = self.cache().join("python");
        let requirements = self.peers().join("python/requirements.txt");
        Stamp::of(&folder, &requirements)?.once(|| {
            if run(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
                apt_install(&["python3-pip"])?;
            }
            let mut install = Command::new("python3");
            install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"]);
            run(install.arg(&folder).arg("--requirement").arg(&requirements))
        })
    }

    /// Fetches the sources through cargo and compiles them with the flags that uWebSockets' own build uses.
    fn compile_uwebsockets(&self) -> Result<(), Failure> {
        let folder = self.cache().join("uwebsockets");
        let server = self.peers().join("uwebsockets/server.cpp");
        Stamp::of(&folder, &server)?.once(|| {
            if run(Command::new("g++").arg("--version")).is_err() {
                apt_install(&["g++"])?;
            }
            let sources = fetch_crate(&folder)?.join("uWebSockets");
            let sockets = sources.join("uSockets/src");
            let mut c_files = vec![];
            for part in ["", "eventing", "crypto"] {
                c_files.extend(files_with_extension(&sockets.join(part), "c")?);
            }
            let common = ["-O3", "-march=native", "-flto", "-w", "-DLIBUS_NO_SSL"];
            run(Command::new("gcc")
                .current_dir(&folder)
                .args(common)
                .args(["-std=c11", "-c", "-I"])
                .arg(&sockets)
                .args(c_files))?;
            let objects = files_with_extension(&folder, "o")?;
            let mut link = Command::new("g++");
            link.current_dir(&folder).args(common).args(["-std=c++20", "-DUWS_NO_ZLIB", "-o", "server", "-I"]);
            run(link.arg(sources.join("src")).arg("-I").arg(&sockets).arg(&server).args(objects))
        })
    }
}

/// Remembers in a folder what it was made from, so that it is made again only when that has changed.
struct Stamp {
    path: PathBuf,
    made_from: Vec<u8>,
}

impl Stamp {
    fn of(folder: &Path, source: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(folder)?;
        Ok(Self { path: folder.join(".made-from"), made_from: fs::read(source)? })
    }

    fn once(&self, make: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        if fs::read(&self.path).is_ok_and(|made_from| made_from == self.made_from) {
            return Ok(());
        }
        make()?;
        Ok(fs::write(&self.path, &self.made_from)?)
    }
}

/// Lets cargo fetch the sources of uWebSockets; where they are.
fn fetch_crate(folder: &Path) -> Result<PathBuf, Failure> {
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("src/lib.rs"), "")?;
    // A workspace of its own: the folder lies inside ours.
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\n{UWEBSOCKETS_CRATE} = \"={UWEBSOCKETS_CRATE_VERSION}\"\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    let output = cargo().current_dir(folder).args(["metadata", "--quiet", "--format-version", "1"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("cargo cannot fetch {UWEBSOCKETS_CRATE}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let packages = metadata["packages"].as_array().ok_or("cargo names no packages")?;
    let package = packages.iter().find(|package| package["name"] == UWEBSOCKETS_CRATE);
    let manifest = package.and_then(|package| package["manifest_path"].as_str()).ok_or("cargo does not name its path")?;
    Ok(Path::new(manifest).parent().unwrap_or(Path::new("/")).to_owned())
}

fn files_with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Failure> {
    let mut files = vec![];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new(extension)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Installs Debian packages, without letting the services among them start.
fn apt_install(packages: &[&str]) -> Result<(), Failure> {
    let policy = Path::new(SERVICE_POLICY);
    let ours = !policy.exists() && fs::write(policy, "#!/bin/sh\nexit 101\n").is_ok();
    if ours {
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
    }
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "--yes", "--quiet", "--no-install-recommends"]);
    let result = run(Command::new("apt-get").args(["update", "--quiet"])).and_then(|()| run(install.args(packages)));
    if ours {
        fs::remove_file(policy)?;
    }
    result.map_err(|error| format!("{error}\ninstall by hand: apt-get install {}", packages.join(" ")).into())
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command to its end; what it printed is shown only when it fails.
fn run(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run {name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr }).into_owned();
    Err(format!("{name} failed ({})\n{}", output.status, said.trim_end()).into())
}

/// The first line that a command prints.
pub(crate) fn first_line(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned())
}
