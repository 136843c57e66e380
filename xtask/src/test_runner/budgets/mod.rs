//! The stage that counts what the product costs: instructions and write calls of a delivery, bytes of an idle session.
//!
//! Counts and not seconds, so that a busy machine gives the same verdict as an idle one. Everything is measured on the
//! release build, because that is what users get, by programs that know the product from outside only. Start at
//! [`bounds`]: what is allowed, and what to do when it is exceeded.

mod bounds;
mod fanout;
mod idle;
mod product;
mod subscriber;

use anyhow::Result;

use super::{Outcome, Suite};
use crate::install;
use bounds::Bound;
use product::Product;

/// Counts instructions.
const VALGRIND: install::Program = ("valgrind", &["--version"], "valgrind");

/// The whole stage; each bound is a check.
pub(super) fn run(suite: &Suite<'_>) -> Result<Outcome> {
    install::debian(&[VALGRIND])?;
    let product = Product::build(suite.root)?;
    let mut outcome = Outcome::Passed;
    for (bound, measured) in measure(&product)? {
        let verdict = bound.judge(measured);
        let shown = verdict.as_ref().map_or_else(|missed| format!("FAILED: {missed}"), |()| "ok".to_owned());
        println!("{:<52} {measured:>9.4}, at most {:>9.4}: {shown}", bound.figure, bound.at_most);
        if suite.check(verdict.map_err(anyhow::Error::msg)).is_err() {
            outcome = Outcome::Failed;
        }
    }
    Ok(outcome)
}

fn measure(product: &Product) -> Result<Vec<(&'static Bound, f64)>> {
    let one = fanout::costs(product, &fanout::ONE_MESSAGE)?;
    let batch = fanout::costs(product, &fanout::BATCH)?;
    Ok(vec![
        (&bounds::INSTRUCTIONS_ONE, one.instructions),
        (&bounds::WRITES_ONE, one.writes),
        (&bounds::INSTRUCTIONS_BATCH, batch.instructions),
        (&bounds::WRITES_BATCH, batch.writes),
        (&bounds::BYTES_WEBSOCKET, idle::bytes_per_session(product, idle::WEBSOCKET)?),
        (&bounds::BYTES_POLLING, idle::bytes_per_session(product, idle::POLLING)?),
    ])
}
