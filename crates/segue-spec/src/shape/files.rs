//! Files that a workflow names: they must be there, inside, and what they are meant to be.

use segue_core::Mode;

use super::{Form, Shape};
use crate::diagnostic::Sink;
use crate::keys::{FileUse, Place};
use crate::node::{Node, has_template};
use crate::scalar::schema_problem;

impl<'n> Shape<'n, '_> {
    pub(super) fn file(&mut self, node: &'n Node, usage: FileUse, name: &str) {
        if has_template(&node.text) {
            self.names(node, Form::Template(Mode::Text), Place::Text);
            return;
        }
        if !self.path(node, name, true) || self.texts.contains_key(&node.text) {
            return;
        }
        let text = match (self.files)(&node.text) {
            Ok(text) => text,
            Err(why) => {
                let message = format!("cannot read the file `{}`: {why}", node.text);
                let help =
                    format!("`{name}` is relative to the workflow's folder; create it there");
                let label = "names this file";
                return self.error("segue::spec::missing_file", &node.span, message, label, help);
            }
        };
        match usage {
            FileUse::Schema => self.schema_file(node, &text),
            FileUse::Prompt => {
                if let Err(error) = segue_core::check_template(&text, Mode::Text) {
                    let message =
                        format!("the prompt in `{}` is not a template: {error}", node.text);
                    let help = "write braces that are meant as text inside `{% raw %}`".to_owned();
                    let label = "in this file";
                    self.error("segue::spec::template", &node.span, message, label, help);
                }
            }
            FileUse::Env | FileUse::Other => return,
        }
        self.texts.insert(node.text.clone(), text);
    }

    fn schema_file(&mut self, node: &'n Node, text: &str) {
        let mut sink = Sink::default();
        let schema = crate::yaml::parse(text, &mut sink);
        let wrong = match (&schema, sink.list.first()) {
            (_, Some(one)) => Some(one.message.clone()),
            (Some(schema), None) => schema_problem(schema).map(|(_, why)| why),
            (None, None) => Some("it is empty".to_owned()),
        };
        if let Some(why) = wrong {
            let message = format!("`{}` is not a JSON Schema: {why}", node.text);
            let help = "correct that file; a schema is a JSON object".to_owned();
            return self.error("segue::spec::schema", &node.span, message, "this file", help);
        }
        let value = schema.as_ref().map(Node::to_json).unwrap_or_default();
        self.schemas.insert(node.text.clone(), value);
    }

    pub(super) fn schema(&mut self, node: &Node, name: &str) {
        if let Some((span, why)) = schema_problem(node) {
            let message = format!("`{name}` is not a JSON Schema: {why}");
            let help = "see json-schema.org for the keywords and what they take".to_owned();
            self.error("segue::spec::schema", &span, message, "here", help);
        }
    }
}
