-- Which node runs a rule: what a node has left when it died is another's.

ALTER TABLE rule_run ADD COLUMN node_id uuid;
