//! Debian's nginx in front of a sink: a peer that nobody here wrote, under TLS.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::process::Process;
use crate::wait::wait_for;

/// A running nginx that passes on to an upstream. Dropping it kills it.
#[derive(Debug)]
pub struct Nginx {
    _folder: TempDir,
    _process: Process,
    tls: SocketAddr,
    plain: SocketAddr,
    certificate: String,
}

impl Nginx {
    /// Starts one that passes on to `upstream`; `rules` go into its `http` block, whose one server listens both
    /// under TLS, with a certificate for 127.0.0.1, and without.
    ///
    /// # Panics
    /// When it does not come up; Debian's package `nginx-light` holds it.
    #[track_caller]
    pub fn start(upstream: SocketAddr, rules: &str) -> Nginx {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let certificate = made.cert.pem();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("cert.pem"), &certificate).expect("the folder is ours");
        std::fs::write(file("key.pem"), made.signing_key.serialize_pem()).expect("the folder is ours");
        let [tls, plain] = free_addresses();
        let here = folder.path().display();
        let config = format!(
            "daemon off; master_process off; pid {here}/pid; error_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n\
               access_log off; client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;\n\
               fastcgi_temp_path {here}/fastcgi; uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;\n\
               {rules}\n\
               server {{\n\
                 listen {tls} ssl; listen {plain};\n\
                 ssl_certificate {here}/cert.pem; ssl_certificate_key {here}/key.pem;\n\
                 location / {{ proxy_pass http://{upstream}; proxy_set_header X-Connection $connection; }}\n\
               }}\n\
             }}\n"
        );
        std::fs::write(file("nginx.conf"), config).expect("the folder is ours");
        // Debian keeps servers where an ordinary user's PATH does not lead.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("nginx");
        command
            .env("PATH", path)
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(file("nginx.conf"))
            .stdin(Stdio::null());
        let mut process = Process::start("nginx", command);
        wait_for("nginx to listen", || {
            let ended = process.try_wait();
            assert!(ended.is_none(), "nginx ended at once: {ended:?}");
            TcpStream::connect(tls).ok()
        });
        Nginx { _folder: folder, _process: process, tls, plain, certificate }
    }

    /// `https://127.0.0.1:PORT/PATH`.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.tls)
    }

    /// Where it listens without TLS.
    pub fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Its certificate in PEM, which a client may be told to trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// How many connections to it under TLS are open, as the system counts.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn open_connections(&self) -> usize {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has the table");
        let port = format!(":{:04X}", self.tls.port());
        let is_open = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().take(4).collect();
            matches!(fields[..], [_, local, _, "01"] if local.ends_with(&port))
        };
        table.lines().filter(is_open).count()
    }
}

/// nginx cannot say which port it took, so it gets two that were free a moment ago.
fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports"));
    listeners.map(|listener| listener.local_addr().expect("a bound listener has an address"))
}
