//! From the text of a transcript to its steps.

use serde_json::Value;

/// One scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// What it shows: the comment at its top.
    pub title: String,
    /// The namespaces and abilities that the server must have, by their names in `README.md`.
    pub needs: Vec<String>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The number of its line, from 1.
    pub line: usize,
    /// The name of the client, empty if there is but one. A name that is new opens a line.
    pub client: String,
    /// What happens there.
    pub does: Does,
}

/// What happens at a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Does {
    /// It sends one WebSocket message of these lines, which may have placeholders and need not be JSON.
    Send(Vec<String>),
    /// It receives this, which may have placeholders.
    Receive(Value),
    /// Its line is cut, without a closing handshake.
    Cut,
    /// The server closes its line with this code.
    Closed(u16),
}

impl Transcript {
    /// From its text.
    ///
    /// # Errors
    /// With the number of the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let title =
            text.lines().next().and_then(|line| line.strip_prefix("# ")).ok_or("line 1 must be a comment: the title")?;
        let mut transcript = Self { title: title.to_owned(), needs: Vec::new(), steps: Vec::new() };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            transcript.add(number, line).map_err(|why| format!("line {number}: {why}"))?;
        }
        Ok(transcript)
    }

    fn add(&mut self, number: usize, line: &str) -> Result<(), String> {
        if let Some(needs) = line.strip_prefix("needs:") {
            self.needs.extend(needs.split(',').map(|name| name.trim().to_owned()));
            return Ok(());
        }
        let at = line.find(|c: char| !c.is_ascii_lowercase()).ok_or("no sign: one of > & < !")?;
        let (client, rest) = line.split_at(at);
        let (sign, content) = rest.split_once(' ').ok_or("a space must follow the sign")?;
        let does = match sign {
            ">" => Does::Send(vec![content.to_owned()]),
            "&" => return self.join(client, content),
            "<" => Does::Receive(serde_json::from_str(content).map_err(|error| error.to_string())?),
            "!" if content == "cut" => Does::Cut,
            "!" => {
                let code = content.strip_prefix("closed ").and_then(|code| code.parse().ok());
                Does::Closed(code.ok_or("after ! there is 'cut' or 'closed CODE'")?)
            }
            _ => return Err(format!("'{sign}' is no sign: one of > & < !")),
        };
        self.steps.push(Step { line: number, client: client.to_owned(), does });
        Ok(())
    }

    /// `&`: one more line of the message before.
    fn join(&mut self, client: &str, content: &str) -> Result<(), String> {
        match self.steps.last_mut() {
            Some(Step { client: other, does: Does::Send(lines), .. }) if other == client => {
                lines.push(content.to_owned());
                Ok(())
            }
            _ => Err("& continues a > of the same client".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_is_read() {
        let text = "# A title\nneeds: chat, ai\n\n# a remark\na> {\"type\":\"ping\"}\na& no JSON\nb< {\"n\":1}\na! cut\nb! closed 3500\n";
        let transcript = Transcript::parse(text).unwrap();
        assert_eq!((&*transcript.title, &transcript.needs[..]), ("A title", &["chat".to_owned(), "ai".to_owned()][..]));
        let steps: Vec<_> = transcript.steps.iter().map(|step| (step.line, &*step.client, &step.does)).collect();
        let sent = Does::Send(vec!["{\"type\":\"ping\"}".to_owned(), "no JSON".to_owned()]);
        let received = Does::Receive(serde_json::json!({"n": 1}));
        assert_eq!(steps, [(5, "a", &sent), (7, "b", &received), (8, "a", &Does::Cut), (9, "b", &Does::Closed(3500))]);
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        for line in ["a", "a={}", "a>{}", "= {}", "< no JSON", "! gone", "! closed", "& {}", "B> {}"] {
            let error = Transcript::parse(&format!("# t\n{line}")).unwrap_err();
            assert!(error.starts_with("line 2: "), "{line}: {error}");
        }
        assert!(Transcript::parse("> {}").is_err(), "no title");
        assert!(Transcript::parse("# t\na> {}\nb& {}").is_err(), "another client's");
    }
}
