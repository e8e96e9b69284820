-- A small podcast archive. All names are invented. The text runs unchanged on SQLite and PostgreSQL.
CREATE TABLE patterns (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('pattern','anti-pattern')),
  created_at DATE NOT NULL, updated_at DATE NOT NULL);
CREATE TABLE orgs (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT, stage TEXT NOT NULL,
  funding BIGINT, date_founded DATE NOT NULL, date_funded DATE, country TEXT NOT NULL);
CREATE TABLE guests (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, job_description TEXT NOT NULL,
  org_id INTEGER REFERENCES orgs(id));
CREATE TABLE episodes (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT, episode_url TEXT NOT NULL,
  minutes INTEGER NOT NULL, published_at DATE NOT NULL);
CREATE TABLE posts (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT, post_url TEXT NOT NULL,
  published_at DATE NOT NULL);
CREATE TABLE pattern_org_link (pattern_id INTEGER NOT NULL REFERENCES patterns(id), org_id INTEGER NOT NULL REFERENCES orgs(id), PRIMARY KEY (pattern_id, org_id));
CREATE TABLE pattern_guest_link (pattern_id INTEGER NOT NULL REFERENCES patterns(id), guest_id INTEGER NOT NULL REFERENCES guests(id), PRIMARY KEY (pattern_id, guest_id));
CREATE TABLE pattern_episode_link (pattern_id INTEGER NOT NULL REFERENCES patterns(id), episode_id INTEGER NOT NULL REFERENCES episodes(id), PRIMARY KEY (pattern_id, episode_id));
CREATE TABLE pattern_post_link (pattern_id INTEGER NOT NULL REFERENCES patterns(id), post_id INTEGER NOT NULL REFERENCES posts(id), PRIMARY KEY (pattern_id, post_id));
INSERT INTO patterns VALUES
 (1,'Founder-led sales','The founders close the first twenty customers themselves.','pattern','2025-01-14','2025-01-14'),
 (2,'Design partner programme','Three to five customers shape the product before launch.','pattern','2025-02-03','2025-02-03'),
 (3,'Usage-based pricing','Customers pay for what they consume, not for seats.','pattern','2025-03-11','2025-06-02'),
 (4,'Open core','The engine is free; operation and compliance are sold.','pattern','2025-05-20','2025-05-20'),
 (5,'Land and expand','A small first contract grows inside the same customer.','pattern','2025-09-08','2025-09-08'),
 (6,'One big customer','More than half of revenue comes from a single contract.','anti-pattern','2025-02-17','2025-02-17'),
 (7,'Growth before retention','Marketing spend rises while users still leave.','anti-pattern','2025-04-29','2025-07-15'),
 (8,'Hiring ahead of revenue','Headcount plans assume the next round has closed.','anti-pattern','2025-10-01','2025-10-01');
INSERT INTO orgs VALUES
 (1,'Northlight Robotics','Warehouse arms that learn from video.','Series A',14500000,'2019-04-01','2022-06-15','Denmark'),
 (2,'Tidewater Health','Remote monitoring after heart surgery.','Seed',3200000,'2022-09-12','2024-01-30','Ireland'),
 (3,'Quillstack','Contract review for small law firms.','Series B',41000000,'2017-02-20','2023-11-08','Canada'),
 (4,'Basalt Energy','Storage of heat in volcanic stone.','Bootstrapped',NULL,'2020-07-05',NULL,'Iceland'),
 (5,'Marrow Data','Synthetic records for hospital software tests.','Seed',2750000,'2023-01-16','2024-10-02','Spain');
INSERT INTO guests VALUES
 (1,'Ines Calder','Co-founder and CEO',1),(2,'Tomasz Weir','Head of product',1),(3,'Priya Anand','Founder',2),
 (4,'Lucas Feld','Chief revenue officer',3),(5,'Hanna Orri','Founder',4),(6,'Marta Quiroga','CTO',5),(7,'Dele Akinola','Independent adviser',NULL);
INSERT INTO episodes VALUES
 (1,'Selling robots to people who fear them','How the first pilot was won.','https://podcast.example/episodes/1',42,'2025-02-06'),
 (2,'The clinic as a design partner','Building with five hospitals.','https://podcast.example/episodes/2',38,'2025-03-20'),
 (3,'Pricing by the page','Why seats were the wrong unit.','https://podcast.example/episodes/3',51,'2025-05-15'),
 (4,'A company without investors','Growing on revenue in Iceland.','https://podcast.example/episodes/4',47,'2025-08-28'),
 (5,'Open source in regulated markets','What is free and what is not.','https://podcast.example/episodes/5',36,'2025-10-16');
INSERT INTO posts VALUES
 (1,'The customer who owned the roadmap','Notes on concentration.','https://letters.example/p/roadmap','2025-03-02'),
 (2,'Retention first','A case for slower marketing.','https://letters.example/p/retention','2025-05-30'),
 (3,'When to hire the first seller','After the twentieth deal.','https://letters.example/p/first-seller','2025-07-19'),
 (4,'Seats, usage, outcomes','Three ways to charge.','https://letters.example/p/pricing','2025-11-04');
INSERT INTO pattern_org_link VALUES (1,1),(2,2),(3,3),(4,5),(5,1),(5,3),(6,2),(7,3),(8,1);
INSERT INTO pattern_guest_link VALUES (1,1),(1,4),(2,2),(2,3),(3,4),(4,6),(5,1),(6,3),(7,7),(8,7);
INSERT INTO pattern_episode_link VALUES (1,1),(2,2),(3,3),(4,5),(5,1),(5,3),(6,2),(8,4);
INSERT INTO pattern_post_link VALUES (1,3),(3,4),(6,1),(7,2);
