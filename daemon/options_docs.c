/* options_docs.c: docs/configuration.md, written by the program that it describes. */
#include "capture/capture.h"
#include "daemon/options.h"

#include <glib.h>
#include <string.h>

static const char before_sources[] =
    "# Configuration\n"
    "\n"
    "<!-- Made by: omnid --print-config-docs > docs/configuration.md. What to edit: daemon/options.def, "
    "options_docs.c. -->\n"
    "\n"
    "omnid runs without any configuration: it then watches a test pattern with the demo model. What you set goes\n"
    "into one file. The first of these that is there is read, and only that one:\n"
    "\n"
    "1. the file of `--config FILE` (`-c`)\n"
    "2. `$XDG_CONFIG_HOME/omnid/omnid.conf` (`~/.config/omnid/omnid.conf`)\n"
    "3. `omnid/omnid.conf` where configuration was installed to, then `/etc/omnid/omnid.conf`\n"
    "\n"
    "`omnid.service` names the third itself. Every setting can also be given on the command line, which goes over\n"
    "the file: `--answers.max_tokens=64`, `--camera.door.video=v4l2:/dev/video0`.\n"
    "\n"
    "    omnid --print-config > omnid.conf      # every setting, commented out at its default\n"
    "    omnid --check --config omnid.conf      # is it right, and what would run? No device is opened.\n"
    "    systemctl reload omnid                 # or kill -HUP: read it again\n"
    "\n"
    "The file has groups in brackets and `key = value` lines; a line that begins with `#` is a comment. Values are\n"
    "taken as they stand, without quotes. A camera is a group of its own, `[camera NAME]` (letters, digits, `-` and\n"
    "`_`); there may be 64. An unknown group or key is an error that names the nearest one, and so is a value out of\n"
    "range: omnid then does not start (exit status 3). `config/examples/` has one file each for the usual cases.\n"
    "\n"
    "## While it runs\n"
    "\n"
    "On SIGHUP the file and the command line are read again. Settings marked *reload* below are in force from the\n"
    "next question on, all at once; a changed setting marked *restart* keeps its old value until omnid is started\n"
    "again, and the log names each of them. If anything is wrong (the file is gone or unreadable, a key unknown, a\n"
    "value out of range, or the new values do not fit those that wait for a restart) nothing changes: the\n"
    "configuration as it was stays in force, and the log says why.\n"
    "\n"
    "## Sources\n"
    "\n"
    "What `video` and `audio` of a camera may be:\n"
    "\n";

/* What stands in a cell of a table: its | would end it. */
static void append_cell(GString *out, const char *text)
{
    for (const char *c = text; *c; c++)
        g_string_append_printf(out, *c == '|' ? "\\|" : "%c", *c);
}

static void append_docs_row(GString *out, const option *row)
{
    g_string_append_printf(out, "| `%s` | ", row->key);
    if (row->default_text[0])
        g_string_append_printf(out, "`%s`", row->default_text);
    g_string_append(out, " | ");
    if (row->type == OPTION_CHOICE) {
        char **choices = g_strsplit(row->range, "|", -1);
        char *list = g_strjoinv(", ", choices);
        g_string_append(out, list);
        g_free(list);
        g_strfreev(choices);
    } else {
        g_string_append(out, row->range[0] ? row->range : row->type == OPTION_BOOL ? "true, false" : "text");
    }
    g_string_append_printf(out, " | %s | ", options_reloads(row) ? "reload" : "restart");
    append_cell(out, row->help);
    g_string_append(out, " |\n");
}

static void append_sources(GString *out)
{
    int n = 0;
    const capture_scheme *schemes = omnid_capture_schemes(&n);
    g_string_append(out, "| URI | |\n| --- | --- |\n");
    for (int i = 0; i < n; i++) {
        g_string_append_printf(out, "| `%s:` | ", schemes[i].scheme);
        append_cell(out, schemes[i].description);
        g_string_append(out, " |\n");
    }
}

void options_print_docs(FILE *out)
{
    size_t n = 0;
    const option *table = options_table(&n);
    GString *text = g_string_new(before_sources);
    append_sources(text);
    g_string_append(text, "\n## Settings\n\n");
    const char *group = "";
    for (size_t i = 0; i < n; i++) {
        if (strcmp(group, table[i].group) != 0) {
            group = table[i].group;
            g_string_append_printf(text,
                                   "%s### [%s%s]\n\n| key | default | values | changed by | meaning |\n"
                                   "| --- | --- | --- | --- | --- |\n",
                                   i ? "\n" : "", group, strcmp(group, "camera") == 0 ? " NAME" : "");
        }
        append_docs_row(text, &table[i]);
    }
    fputs(text->str, out);
    g_string_free(text, TRUE);
}
