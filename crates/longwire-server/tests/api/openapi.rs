//! `docs/openapi.yaml` against the server: what it documents is there and does what it says, and nothing else is there.

use std::collections::BTreeSet;

use longwire_server::{API_ROUTES, ErrorCode};
use serde_json::Value;

use super::{api, request, respond, schema, session, yaml};
use crate::support::{Client, Response, TestServer};

fn document() -> Value {
    yaml::read(include_str!("../../../../docs/openapi.yaml"))
}

/// Path, method and what is documented of each operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().unwrap().clone();
        let path = path.clone();
        methods.into_iter().map(move |(method, operation)| (path.clone(), method.to_uppercase(), operation)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn the_routes_of_the_file_are_those_of_the_server() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let documented: BTreeSet<_> = operations(&document).into_iter().map(|(path, method, _)| (method, path)).collect();
    let served: BTreeSet<_> = API_ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(documented, served);
    // The list of the routes is not the router: ask it. What a method has is in Allow.
    let server = api(1);
    for (method, path) in &served {
        let allowed: BTreeSet<_> =
            served.iter().filter(|(_, other)| other == path).map(|(method, _)| method.as_str()).collect();
        let response = respond(server.address, &request("PATCH", path, "", ""));
        assert_eq!(response.status, 405, "{method} {path}");
        let said: BTreeSet<_> = response.header("allow").unwrap().split(',').filter(|said| *said != "HEAD").collect();
        assert_eq!(said, allowed, "{path}");
    }
}

#[test]
fn every_example_is_answered_as_documented() {
    let document = document();
    let server = api(2);
    for (path, method, operation) in in_order(operations(&document)) {
        let (client, session) = session(&server, &["chat:lobby"]);
        let mut statuses = BTreeSet::new();
        for example in operation["x-examples"].as_array().unwrap_or_else(|| panic!("{method} {path} has no x-examples")) {
            let example: Value = serde_json::from_str(&example.to_string().replace("{session}", &session)).unwrap();
            check_request(&document, &operation, &example);
            let response = send(&server, &method, &path, &example);
            assert_eq!(example["status"], response.status, "{method} {path} {example}\n{}", response.body);
            statuses.insert(response.status.to_string());
            check_response(&document, &operation, &example, &response);
        }
        // The others have tests of their own.
        let mut documented: BTreeSet<_> = operation["responses"].as_object().unwrap().keys().cloned().collect();
        documented.retain(|status| !["413", "415", "default"].contains(&status.as_str()));
        assert_eq!(statuses, documented, "{method} {path}: an example of each status, and no other");
        drop(client);
    }
}

/// Every name of an error that the file gives is one of the table, and the other way round for the API's own.
#[test]
fn the_errors_of_the_file_are_those_of_the_table() {
    let text = include_str!("../../../../docs/openapi.yaml");
    for code in ErrorCode::ALL.iter().filter(|code| code.number() >= 150) {
        assert!(text.contains(code.name()), "{} is not documented", code.name());
    }
    let document = document();
    for (path, method, operation) in operations(&document) {
        for example in operation["x-examples"].as_array().unwrap() {
            let Some(name) = example["error"].as_str() else { continue };
            let code =
                ErrorCode::ALL.iter().find(|code| code.name() == name).unwrap_or_else(|| panic!("{method} {path}: {name}"));
            assert_eq!(example["status"], code.status(), "{method} {path}: {name}");
        }
    }
}

/// A stream is begun before it is appended to and ended last; sessions end after all that needs them.
fn in_order(mut operations: Vec<(String, String, Value)>) -> Vec<(String, String, Value)> {
    let order = ["/publish", "/append", "/cancel"];
    operations.sort_by_key(|(path, _, _)| order.iter().position(|first| first == path).unwrap_or(order.len()));
    operations
}

fn send(server: &TestServer, method: &str, path: &str, example: &Value) -> Response {
    let target = match example["query"].as_str() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let lines = |lines: &Vec<Value>| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let (kind, body) = match (&example["body"], example["lines"].as_array()) {
        (_, Some(all)) => ("Content-Type: application/x-ndjson\r\n", lines(all)),
        (Value::Null, None) => ("", String::new()),
        (body, None) => ("Content-Type: application/json\r\n", body.to_string()),
    };
    let head = format!("Connection: close\r\n{kind}");
    let mut client = Client::tcp(server.address);
    client.send_raw(request(method, &target, &head, &body).as_bytes());
    let mut response = client.response();
    if response.header("transfer-encoding").is_some() {
        response.body = unchunked(&client.rest_of_connection());
    }
    response
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole += &rest[..size];
        body = &rest[size + 2..];
    }
    whole
}

/// What goes well is a request as the file has it, and what does not is mostly none; the server says which.
fn check_request(document: &Value, operation: &Value, example: &Value) {
    let content = &operation["requestBody"]["content"];
    if let (Some(documented), Value::Object(_)) = (content["application/json"].as_object(), &example["body"]) {
        let checked = schema::check(document, &documented["schema"], &example["body"]);
        assert!(checked.is_ok() || example["status"] != 200, "{example}: {checked:?}");
    }
    for name in example["query"].as_str().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
        let of = |parameter: &Value| match parameter["$ref"].as_str() {
            Some(path) => document.pointer(path.trim_start_matches('#')).unwrap()["name"].clone(),
            None => parameter["name"].clone(),
        };
        let is_documented = operation["parameters"].as_array().unwrap().iter().any(|parameter| of(parameter) == name.0);
        assert!(is_documented || example["status"] != 200, "{example}: {} is not documented", name.0);
    }
}

fn check_response(document: &Value, operation: &Value, example: &Value, response: &Response) {
    let status = response.status.to_string();
    let documented = &operation["responses"][&status];
    let documented = match documented["$ref"].as_str() {
        Some(path) => document.pointer(path.trim_start_matches('#')).unwrap(),
        None => documented,
    };
    let kind = response.header("content-type").unwrap();
    let schema = &documented["content"][kind]["schema"];
    assert!(schema.is_object(), "{example}: {kind} is not documented for {status}");
    for line in response.body.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        schema::check(document, schema, &value).unwrap_or_else(|why| panic!("{example}\n{value}\n{why}"));
        if let Some(name) = example["error"].as_str() {
            super::expect_error(response.status, &value, response.status, name);
        } else if example["lines"].is_array() && !example["query"].is_string() {
            assert!(value["error"].is_null() || value["id"] == 7, "{value}");
        }
    }
}
