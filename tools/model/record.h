/* record.h: omnid-fetch.json beside a fetched model: where it came from, which commit, and what each file must be. */
#ifndef OMNID_MODEL_RECORD_H
#define OMNID_MODEL_RECORD_H

#include "tools/model/hub.h"

typedef struct {
    char *name, *repository, *revision, *licence;
    char commit[41];
    bool complete;    /* every file was there and had its hash */
    GPtrArray *files; /* as hub_files_create makes them */
} record;

/* Reads the record of a folder. MISSING: it has none (fetched by other means); BAD_DATA. *out is cleared on failure. */
model_exit record_read(record *out, const char *folder, omnid_error *err);
model_exit record_parse(record *out, const char *json, size_t n, omnid_error *err);
/* Writes it so that a crash leaves the old one or the new one. */
model_exit record_write(const record *r, const char *folder, omnid_error *err);
void record_clear(record *r);
/* The files that are not there with their size; the hashes are not looked at. */
int record_n_missing(const record *r, const char *folder);
/* Bytes of all files. */
uint64_t record_bytes(const record *r);

/* The hash of a file's bytes as the hub has it: SHA-256, or git's blob id of `size` bytes. g_checksum_free. */
GChecksum *record_hash_begin(const hub_file *f);
/* Hashes a whole file and compares. MISSING, IO, BAD_DATA (the sentence has both hashes), INTERRUPTED. */
model_exit record_hash_file(const hub_file *f, const char *folder, omnid_error *err);

#endif
