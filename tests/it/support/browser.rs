//! Chromium, which looks at an exporter's page in frames of another page, whose script may do what a
//! reader does: click, type, measure. What it loads comes through a proxy, as it came from the exporter but
//! for the word that no frame may show it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use serde_json::Value;

use super::exporter::{Exporter, Scraped};

/// What the other page's script can use: `open(path, width)` opens a path of the exporter in a frame of
/// so many pixels, and gives the frame once it is loaded; `loaded(frame)` waits until it is loaded again.
const SCRIPT: &str = "
    const loaded = frame => new Promise(done => frame.onload = () => done(frame));
    const open = (path, width) => {
        const frame = document.createElement('iframe');
        frame.style = `border: 0; height: 900px; width: ${width}px`;
        frame.src = path;
        document.body.append(frame);
        return loaded(frame);
    };
";

/// Whether a reader wants it light or dark.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scheme {
    // As Blink numbers them.
    Dark = 0,
    Light = 1,
}

/// Has the browser run a script that may look at the exporter's page; what it returns, and what the
/// browser complained of. It has eight seconds before the page renews itself.
pub(crate) fn run(exporter: &Exporter, scheme: Scheme, script: &str) -> (Value, String) {
    let page = format!(
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><link rel=\"icon\" href=\"data:,\"></head><body><pre id=\"result\"></pre>\
         <script>{SCRIPT}(async () => {{ {script} }})().catch(error => `${{error}}`).then(result => \
         document.getElementById('result').textContent = JSON.stringify(result));</script></body></html>"
    );
    let port = serve(exporter.port(), page);
    let profile = std::env::temp_dir().join(format!("chromium-{}-{port}", std::process::id()));
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120", "chromium"])
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .args(["--disable-background-networking", "--disable-dev-shm-usage"])
        .args([
            "--no-first-run",
            "--enable-logging=stderr",
            "--hide-scrollbars",
        ])
        .arg(format!(
            "--blink-settings=preferredColorScheme={}",
            scheme as u8
        ))
        .args(["--virtual-time-budget=8000", "--window-size=2000,1000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("http://127.0.0.1:{port}/harness"))
        .output()
        .expect("timeout, of coreutils");
    let _ = fs::remove_dir_all(profile);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "is chromium installed (Debian: chromium)? {}: {said}",
        output.status
    );
    let console = said.lines().filter(|line| line.contains("CONSOLE"));
    let console = console.collect::<Vec<_>>().join("\n");
    let document = String::from_utf8(output.stdout).unwrap();
    let (_, result) = document
        .split_once("<pre id=\"result\">")
        .expect("a result");
    let result = result.split("</pre>").next().unwrap_or_default();
    let result = result
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    let value = serde_json::from_str(&result);
    (
        value.unwrap_or_else(|error| panic!("{error}: {document}")),
        console,
    )
}

/// Serves the other page, and what the exporter answers, for as long as the process lives.
fn serve(exporter: u16, page: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let page = page.clone();
            // A browser may well hang up.
            thread::spawn(move || drop(answer(client, exporter, &page)));
        }
    });
    port
}

fn answer(mut client: TcpStream, exporter: u16, page: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if head.starts_with("GET /harness ") {
        let length = page.len();
        return write!(
            client,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{page}"
        );
    }
    let line = head.lines().next().unwrap_or_default();
    let mut server = TcpStream::connect(("127.0.0.1", exporter))?;
    write!(
        server,
        "{line}\r\nHost: 127.0.0.1:{exporter}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    client.write_all(
        answer
            .replacen("; frame-ancestors 'none'", "", 1)
            .as_bytes(),
    )
}
