"""What happened: receipts, chained by hash, written durably before anything leaves."""
