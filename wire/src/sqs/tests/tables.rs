//! The tables and the page that is printed from them.

use super::*;

#[test]
fn the_page_has_a_line_for_every_row_of_every_table() {
    let page = reference::page();
    let rows = page.lines().filter(|line| line.starts_with("| ")).count();
    let tables = [
        Action::ALL.len(),
        QueueAttribute::ALL.len(),
        SystemAttribute::ALL.len(),
        ErrorKind::ALL.len(),
        limits::ALL.len(),
    ];
    assert_eq!(rows, tables.iter().sum::<usize>() + tables.len());
    let mut columns = 0;
    for line in page.lines() {
        let bars = line.matches('|').count();
        columns = if line.starts_with("| ") && columns == 0 { bars } else { columns };
        match line {
            "" => columns = 0,
            line => assert!(bars == columns || line.starts_with("## "), "{line}"),
        }
    }
    for line in [
        "| DeleteMessage | QueueUrl*, ReceiptHandle* | Deletes a message by the handle of its receive. |",
        "| DelaySeconds | 0 to 900 | 0 | Seconds a new message waits before it can be received. On a standard queue a \
         message may have its own; on a FIFO queue a change also reaches stored messages. |",
        "| com.amazonaws.sqs#EmptyBatchRequest | AWS.SimpleQueueService.EmptyBatchRequest | 400 | The batch has no entry. |",
        "| fifo_id_chars_max | 128 | Characters of a group, deduplication or attempt id. Longer ones are refused with \
         `InvalidParameterValue`. |",
    ] {
        assert!(page.contains(line), "{line}");
    }
}

#[test]
fn names_are_found_and_nothing_else() {
    for action in Action::ALL {
        assert_eq!(Action::from_name(action.name()), Some(*action));
    }
    for attribute in QueueAttribute::ALL {
        assert_eq!(QueueAttribute::from_name(attribute.name()), Some(*attribute));
        assert!(QueueAttributeSet::ALL.contains(*attribute));
        assert!(!QueueAttributeSet::default().contains(*attribute));
    }
    for attribute in SystemAttribute::ALL {
        assert_eq!(SystemAttribute::from_name(attribute.name()), Some(*attribute));
        assert_eq!(SystemAttributeSet::default().with(*attribute).iter().collect::<Vec<_>>(), [*attribute]);
    }
    assert_eq!(Action::ALL.len(), 23);
    assert_eq!((Action::from_name("sendMessage"), QueueAttribute::from_name("All")), (None, None));
    assert!(Action::ALL.is_sorted_by_key(|action| action.name()));
}

#[test]
fn every_default_keeps_to_its_rule() {
    for kind in [QueueKind::Standard, QueueKind::Fifo] {
        let defaults = Settings::defaults(kind);
        let pairs: Vec<_> = defaults.iter().map(|(attribute, value)| (attribute.name(), value)).collect();
        assert_eq!(Settings::parse(pairs, kind, Purpose::Create), Ok(defaults));
    }
}
