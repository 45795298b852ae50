//! Calls the AWS services whose requests are forms and whose answers are XML, such as CloudFormation and STS:
//! <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>.

use anyhow::{Context, Result};
use aws_smithy_xml::decode::{Document, try_data};

use crate::signed::{Body, Signed};

/// Sends a request, and returns the texts of the answer's elements with these names, in order. `form` must already be
/// encoded.
pub async fn call(service: &Signed, form: &str, names: &[&'static str]) -> Result<Vec<(&'static str, String)>> {
    let body = Body { content_type: "application/x-www-form-urlencoded", bytes: form.as_bytes().to_vec() };
    let answer = service.send("POST", "/", body).await?;
    texts(&String::from_utf8(answer.payload).context("the answer is not UTF-8")?, names)
}

fn texts(xml: &str, names: &[&'static str]) -> Result<Vec<(&'static str, String)>> {
    let mut document = Document::new(xml);
    let mut texts = Vec::new();
    while let Some(start) = document.next_start_element() {
        let Some(name) = names.iter().find(|name| start.matches(name)) else { continue };
        let mut element = document.scoped_to(start);
        let text = try_data(&mut element).with_context(|| format!("the answer's {name} can't be read"))?;
        texts.push((*name, text.into_owned()));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_at_any_depth() {
        let xml = "<?xml version=\"1.0\"?>\n<A xmlns=\"https://x\">\n  <Outputs>\n    <member>\n      <K>one</K><V>a&amp;b</V>\n    \
                   </member>\n    <member><V/><K>two</K></member>\n  </Outputs>\n</A>";
        let found = texts(xml, &["K", "V"]).unwrap();
        let expected = [("K", "one"), ("V", "a&b"), ("V", ""), ("K", "two")];
        assert_eq!(found, expected.map(|(name, text)| (name, text.to_owned())));
        assert_eq!(texts("no XML", &["K"]).unwrap(), []);
    }
}
