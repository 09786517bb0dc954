BEGIN TRANSACTION;
CREATE TABLE grants (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT NOT NULL,
        attempt TEXT NOT NULL,
        key TEXT NOT NULL,
        max INTEGER NOT NULL,
        reject INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        since_ms INTEGER NOT NULL,
        granted INTEGER NOT NULL,
        UNIQUE (run, attempt)
    );
INSERT INTO "grants" VALUES(1,'demo-01kav9ft0000000000','{"task":"a","number":1}','k',1,0,0,1764000000005,1);
CREATE TABLE runs (
        run TEXT PRIMARY KEY,
        workflow TEXT NOT NULL,
        status TEXT NOT NULL,
        started_ms INTEGER NOT NULL,
        journal_bytes INTEGER NOT NULL,
        journal_ns INTEGER NOT NULL,
        summary TEXT NOT NULL
    );
INSERT INTO "runs" VALUES('demo-01kav9ft0000000000','demo','succeeded',1764000000001,576,1795622197135694603,'{"run":"demo-01kav9ft0000000000","workflow":"demo","status":"succeeded","started_at":"2025-11-24T16:00:00.001Z","ended_at":"2025-11-24T16:00:00.003Z","params":{},"tasks":{"succeeded":1,"failed":0,"skipped":0,"blocked":0,"cancelled":0},"attempts":0,"retries":0,"resumes":0,"cost":null,"failure":null,"last_seq":3}');
INSERT INTO "runs" VALUES('demo-01kav9ft0000000001','demo','failed',1764000000001,573,1795622197173479534,'{"run":"demo-01kav9ft0000000001","workflow":"demo","status":"failed","started_at":"2025-11-24T16:00:00.001Z","ended_at":"2025-11-24T16:00:00.003Z","params":{},"tasks":{"succeeded":1,"failed":0,"skipped":0,"blocked":0,"cancelled":0},"attempts":0,"retries":0,"resumes":0,"cost":null,"failure":null,"last_seq":3}');
INSERT INTO "runs" VALUES('demo-01kav9ft0000000002','demo','succeeded',1764000000001,576,1795622197209479533,'{"run":"demo-01kav9ft0000000002","workflow":"demo","status":"succeeded","started_at":"2025-11-24T16:00:00.001Z","ended_at":"2025-11-24T16:00:00.003Z","params":{},"tasks":{"succeeded":1,"failed":0,"skipped":0,"blocked":0,"cancelled":0},"attempts":0,"retries":0,"resumes":0,"cost":null,"failure":null,"last_seq":3}');
CREATE INDEX runs_by_time ON runs (started_ms);
CREATE INDEX grants_by_key ON grants (key);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('grants',1);
COMMIT;
PRAGMA user_version = 1;
