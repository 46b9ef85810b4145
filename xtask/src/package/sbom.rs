//! The bill of materials, in the format CycloneDX 1.5 (JSON).

use anyhow::Result;
use serde_json::{Value, json};

use super::components::Component;
use super::{Release, made};

const NAME: &str = "tcp-backlog-probe";

/// The document.
pub(crate) fn document(components: &[Component], release: &Release) -> Result<String> {
    let (_, timestamp) = made::dates(release)?;
    Ok(format!("{:#}\n", value(components, &timestamp)))
}

fn value(components: &[Component], timestamp: &str) -> Value {
    let is_product = |component: &&Component| component.name == NAME;
    let product = components.iter().find(is_product).map(|component| described(component, "application"));
    let libraries: Vec<Value> = components
        .iter()
        .filter(|component| !is_product(component))
        .map(|component| described(component, "library"))
        .collect();
    // The compiler links the C library, so cargo does not know who uses it.
    let c_library = components.iter().find(|component| component.name == "glibc");
    let dependencies: Vec<Value> = components
        .iter()
        .map(|component| {
            let mut uses = component.uses.clone();
            uses.extend(c_library.filter(|_| component.name == NAME).map(|library| library.purl.clone()));
            uses.sort();
            uses.dedup();
            json!({"ref": component.purl, "dependsOn": uses})
        })
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": timestamp,
            "tools": {"components": [{"type": "application", "name": "cargo xtask package"}]},
            "component": product,
        },
        "components": libraries,
        "dependencies": dependencies,
    })
}

fn described(component: &Component, kind: &str) -> Value {
    let Component { name, version, licence, repository, checksum, purl, .. } = component;
    let mut value = json!({
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "licenses": [{"expression": licence}],
    });
    if let Some(fields) = value.as_object_mut() {
        if let Some(checksum) = checksum {
            fields.insert("hashes".to_owned(), json!([{"alg": "SHA-256", "content": checksum}]));
        }
        if let Some(repository) = repository {
            fields.insert("externalReferences".to_owned(), json!([{"type": "vcs", "url": repository}]));
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str, uses: &[&str]) -> Component {
        Component {
            name: name.to_owned(),
            version: "1".to_owned(),
            licence: "MIT".to_owned(),
            repository: None,
            checksum: Some("ff".to_owned()),
            purl: format!("pkg:cargo/{name}@1"),
            folder: None,
            uses: uses.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn the_product_uses_its_libraries_and_the_c_library() {
        let document = value(&[component("glibc", &[]), component(NAME, &["pkg:cargo/a@1"])], "then");
        assert_eq!(document["metadata"]["component"]["type"], "application");
        assert_eq!(document["components"][0]["hashes"][0]["content"], "ff");
        assert_eq!(document["dependencies"][1]["dependsOn"], json!(["pkg:cargo/a@1", "pkg:cargo/glibc@1"]));
    }
}
