//! Which stories there are.

use anyhow::Result;

use super::story::Story;
use super::{nginx, python, tomcat};

/// All of them, the main one first.
pub(super) const STORIES: [&Story; 3] = [&tomcat::STORY, &nginx::STORY, &python::STORY];

/// The names, for the command line.
pub(super) fn find(name: &str) -> Result<&'static Story> {
    let found = STORIES.into_iter().find(|story| story.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = STORIES.iter().map(|story| story.name).collect();
        anyhow::anyhow!("no demonstration {name}; there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::super::story::Clamp;
    use super::*;

    #[test]
    fn every_story_is_found_by_its_name() {
        for story in STORIES {
            assert_eq!(find(story.name).unwrap().name, story.name);
        }
        assert!(find("iis-spike").is_err());
    }

    #[test]
    fn a_story_of_the_kernels_limit_asks_for_more_than_it() {
        for story in STORIES {
            assert!(story.backlog.is_none_or(|backlog| backlog == story.asks_for));
            assert_eq!(story.asks_for > story.somaxconn, story.clamp == Clamp::Somaxconn, "{}", story.name);
        }
    }
}
