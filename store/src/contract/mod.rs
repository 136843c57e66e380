//! The rules of [`Log`](crate::Log), [`Table`](crate::Table) and [`Bus`](crate::Bus) as tests, one function each.
//!
//! Every implementation runs the very same suite: give a [`Rig`] (or [`BusRig`]) to [`log_contract!`],
//! [`table_contract!`] and [`bus_contract!`], which make one `#[test]` per rule with a fresh rig. One that outlives its
//! process gives a [`Home`] to [`durable_contract!`], too. The rules know nothing of an implementation; what only some can
//! show (a bound that is small enough to reach) is asked of the rig.
//!
//! [`log_contract!`]: crate::log_contract
//! [`table_contract!`]: crate::table_contract
//! [`bus_contract!`]: crate::bus_contract
//! [`durable_contract!`]: crate::durable_contract

pub mod bus;
pub mod durable;
pub mod live;
pub mod log;
mod rig;
pub mod table;

pub use rig::{BusRig, Heard, Home, Rig, Sink};

/// One `#[test]` per named rule of a module of the contract. Used by the macros for traits.
#[macro_export]
macro_rules! contract_tests {
    ($module:ident, $rig:expr; $($rule:ident)*) => {
        $(
            #[test]
            fn $rule() {
                $crate::contract::$module::$rule(&$rig);
            }
        )*
    };
}

/// Every rule of [`Log`](crate::Log), on the [`Rig`] the expression makes.
#[macro_export]
macro_rules! log_contract {
    ($rig:expr) => {
        $crate::contract_tests! { log, $rig;
            a_fresh_log_is_empty
            appended_records_are_replayed_in_order
            bodies_are_kept_byte_by_byte
            an_empty_batch_completes
            batches_in_flight_keep_their_order
            partitions_are_independent
            a_page_is_bounded_and_says_where_it_goes_on
            one_record_larger_than_the_page_is_given
            replay_goes_on_behind_a_position
            read_gives_one_entity_only
            a_position_of_another_epoch_is_a_gap
            a_position_ahead_of_the_log_is_a_gap
            reading_behind_trimmed_records_is_a_gap
            trimming_one_entity_leaves_the_others
            a_trim_of_another_epoch_drops_nothing
            last_is_the_newest_of_each_entity
            a_snapshot_starts_the_replay
            an_older_snapshot_is_ignored
            a_snapshot_of_what_was_never_written_is_fenced
            the_owner_that_knows_the_end_appends
            an_owner_that_does_not_know_the_end_is_fenced
            nothing_stands_behind_a_refused_record
            what_is_too_large_is_refused_whole
            expired_records_are_a_gap
            a_repeated_id_can_be_recognised
            a_full_log_reads_on_and_takes_more_once_trimmed
        }
        $crate::contract_tests! { live, $rig;
            removed_records_are_gone_and_leave_no_gap
            removing_what_is_not_there_succeeds
            a_batch_is_done_in_its_order
            a_removal_behind_a_refused_record_is_refused
            offsets_are_consecutive_and_never_used_again
            records_are_fetched_by_place
            a_record_of_nobody_is_replayed_and_fetched_only
            last_passes_over_removed_records
            removal_goes_with_expiry_and_trimming
            removals_in_flight_keep_their_order
            a_full_log_takes_more_once_records_are_removed
            partitions_do_not_mix_whatever_is_written
        }
    };
}

/// Every rule of a store that outlives its process, on the [`Home`] the expression makes.
#[macro_export]
macro_rules! durable_contract {
    ($home:expr) => {
        $crate::contract_tests! { durable, $home;
            what_was_written_is_there_when_it_is_opened_again
            offsets_go_on_when_it_is_opened_again
            gaps_and_snapshots_are_there_when_it_is_opened_again
            rows_and_revisions_are_there_when_it_is_opened_again
            lives_do_not_mix_whatever_is_written
        }
    };
}

/// Every rule of [`Table`](crate::Table), on the [`Rig`] the expression makes.
#[macro_export]
macro_rules! table_contract {
    ($rig:expr) => {
        $crate::contract_tests! { table, $rig;
            a_row_never_written_is_absent
            rows_are_read_as_written
            tables_are_rooms_of_their_own
            an_absent_row_is_created_once
            a_revision_wins_once
            a_revision_never_returns
            deleting_what_is_not_there_succeeds
            a_conflict_stops_no_other_operation
            a_scan_is_sorted_bounded_and_goes_on
            a_row_expires
            writing_again_renews_the_time_of_a_row
            a_watcher_sees_every_change_in_order
            a_row_that_is_too_large_is_refused
        }
    };
}

/// Every rule of [`Bus`](crate::Bus), on the [`BusRig`] the expression makes.
#[macro_export]
macro_rules! bus_contract {
    ($rig:expr) => {
        $crate::contract_tests! { bus, $rig;
            frames_reach_nodes_with_interest_only
            a_node_never_hears_itself
            frames_of_one_publisher_keep_their_order
            filters_match_by_level
            interest_is_a_set
            a_question_is_answered_by_all
            a_silent_node_is_named
            a_node_that_is_not_there_is_named
            members_come_and_go
        }
    };
}
