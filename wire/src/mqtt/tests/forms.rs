//! placeholder of tests
