//! A small registry for unit tests.

use std::io::{BufRead, BufReader, Read, Write};

/// A registry with a token server, on one address. Its repositories `busy` and `many` answer 503
/// and 429. Sends each request to the receiver, followed by ` Basic` if it had a password. The
/// mode says who gets a token:
///
/// | mode | tokens |
/// |---|---|
/// | `login` and others | to `me` with the password `hunter2` |
/// | `identity` | for the identity token `ID` |
/// | `anybody` | to anybody |
/// | `once` | to anybody, once |
/// | `briefly` | to anybody, for 5 s |
/// | `public` | to anybody, valid only for `open/` |
/// | `scoped` | to anybody who asks for `open/` |
/// | `hangs` | to anybody, but no HEAD is answered |
/// | `open` | /v2/ and `open/` ask for none |
/// | `basic` | none: it accepts only passwords |
pub fn served(mode: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = std::sync::mpsc::channel();
    let realm = format!("http://{address}/token?x=1");
    std::thread::spawn(move || {
        let mut given = 0;
        let mut silent = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut hello = [0];
            if stream.peek(&mut hello).is_ok() && hello[0] == 0x16 {
                // A TLS attempt: it is dropped, and not reported.
                continue;
            }
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|n| n > 0) {}
            let length = head
                .to_lowercase()
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            let first = head.lines().next().unwrap_or_default().to_owned();
            let basic = "bWU6aHVudGVyMg==";
            let open = first.contains("/open/");
            let answer = if first.contains("/token") {
                let lets_in = match mode {
                    "identity" => {
                        body.contains("refresh_token=ID&") || body.ends_with("refresh_token=ID")
                    }
                    "anybody" | "once" | "public" | "hangs" => true,
                    "scoped" if first.contains("scope=repository%3Aopen") => true,
                    _ => head.contains(basic),
                };
                given += 1;
                if mode == "once" && given > 1 {
                    "503 busy\r\nContent-Length: 0\r\n\r\n".to_owned()
                } else if mode == "briefly" {
                    "200 OK\r\nContent-Length: 30\r\n\r\n{\"token\":\"TOK\",\"expires_in\":5}"
                        .to_owned()
                } else if lets_in {
                    "200 OK\r\nContent-Length: 15\r\n\r\n{\"token\":\"TOK\"}".to_owned()
                } else {
                    "401 no\r\nContent-Length: 0\r\n\r\n".to_owned()
                }
            } else if first.contains("busy") {
                "503 busy\r\nContent-Length: 0\r\n\r\n".to_owned()
            } else if first.contains("many") {
                "429 many\r\nContent-Length: 0\r\n\r\n".to_owned()
            } else if head.contains("Bearer TOK") && (mode != "public" || open)
                || mode == "open" && (open || first.contains(" /v2/ "))
            {
                let length = if first.starts_with("HEAD") { 400 } else { 0 };
                format!(
                    "200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nDocker-Content-Digest: sha256:{}\r\nContent-Length: {length}\r\n\r\n",
                    "a".repeat(64)
                )
            } else if mode == "basic" {
                "401 no\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
                    .to_owned()
            } else {
                format!(
                    "401 no\r\nWWW-Authenticate: Bearer realm=\"{realm}\",service=\"s t\"\r\nContent-Length: 0\r\n\r\n"
                )
            };
            let password = head.contains("authorization: Basic");
            let hangs = mode == "hangs" && first.starts_with("HEAD");
            let _ = tell.send(first + if password { " Basic" } else { "" });
            if hangs {
                silent.push(stream);
                continue;
            }
            let _ = stream.write_all(format!("HTTP/1.1 {answer}").as_bytes());
        }
    });
    (address, told)
}
