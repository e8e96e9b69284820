-- Jobs of one share, such as calls to one host, have a few places together, so that a slow host does not take everybody's.
ALTER TABLE job ADD COLUMN share text;
CREATE INDEX job_sharing ON job (share) WHERE state = 'running' AND share IS NOT NULL;
