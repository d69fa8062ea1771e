//! Man pages, completions and the policy's schema, made from the definition of the
//! command line and from config/policy.toml. They are files of the repository, and a
//! test compares them. To make them anew, and read the difference:
//! UPDATE_MANUAL=1 cargo test --lib manual

mod page;
mod policy_page;
mod program_page;
mod tests;
mod words;
