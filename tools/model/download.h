/* download.h: one file of a repository onto the disk. */
#ifndef OMNID_MODEL_DOWNLOAD_H
#define OMNID_MODEL_DOWNLOAD_H

#include "tools/model/http.h"
#include "tools/model/progress.h"
#include "tools/model/record.h"

/* Bytes of the file that an earlier fetch left (FOLDER/NAME.HASH.part). */
int64_t download_have(const hub_file *f, const char *folder);

/* Makes FOLDER/NAME the part, over an older one; the next download_file hashes it. */
model_exit download_set_aside(const hub_file *f, const char *folder, omnid_error *err);

/* Brings url into FOLDER/NAME, over NAME.HASH.part: goes on with what is there, checks the hash, renames. A part with a
 * wrong hash is thrown away and fetched once more from the start; wrong again: BAD_DATA. p counts every byte that is there
 * or comes, and gives back what is thrown away. */
model_exit download_file(http *h, const char *url, const hub_file *f, const char *folder, progress *p,
                         omnid_error *err);

#endif
