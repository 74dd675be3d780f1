//! Multipart forms: the model is the text of the only part of that name, a form with another model is read as
//! such and is otherwise the same, and a plain reader of the same form finds the same model. Input: the form,
//! whose boundary is "B"; a first part is given.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use thalweg::wire::form;

const TYPE: &[u8] = b"multipart/form-data; boundary=B";
const FIRST: &[u8] = b"--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n";

fuzz_target!(|input: &[u8]| {
    let _ = form::read(input, input);
    for body in [input.to_vec(), [FIRST, input].concat()] {
        let Ok(read) = form::read(TYPE, &body) else { continue };
        assert_eq!(read.model().map(str::as_bytes).map(<[u8]>::to_vec), plain_model(&body));
        let body = Bytes::from(body);
        assert_eq!(read.renamed(&body, read.model().unwrap_or("x")).join(), body);
        let renamed = read.renamed(&body, "another").join();
        let again = form::read(TYPE, &renamed).expect("a form with another model");
        assert_eq!(again.model(), read.model().map(|_| "another"));
        assert_eq!(again.stream(), read.stream());
        let own = read.model().unwrap_or("another").to_owned();
        assert_eq!(again.renamed(&renamed, &own).join(), body);
    }
});

/// As the simplest of readers finds it: the parts between the boundaries, the first that has the name.
fn plain_model(body: &[u8]) -> Option<Vec<u8>> {
    let text: String = body.iter().map(|byte| char::from(*byte)).collect();
    let model = text.split("--B").find_map(|part| {
        let (head, value) = part.split_once("\r\n\r\n")?;
        let line = head.split("\r\n").find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
        let is_model = line.split([';', ' ', '\t']).any(|word| {
            let name = word.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("name"));
            name.is_some_and(|(_, name)| name.trim_matches('"') == "model")
        });
        is_model.then(|| value.strip_suffix("\r\n").unwrap_or(value).to_owned())
    })?;
    Some(model.chars().map(|char| u8::try_from(u32::from(char)).expect("a byte")).collect())
}
