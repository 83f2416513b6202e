/* mic_cards.c: /proc/asound. */
#include "capture/mic_cards.h"

#include "capture/mic_match.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CARDS = 64 };

/* " 1 [U0x46d0x825    ]: USB-Audio - USB Device 0x46d:0x825": the short name, which PortAudio shows, is the last. */
static void find_card_name(char *out, size_t size, const char *cards, int card)
{
    snprintf(out, size, "card %d", card);
    for (const char *line = cards; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        int number;
        if (sscanf(line, " %d [", &number) != 1 || number != card)
            continue;
        const char *end = strchrnul(line, '\n'), *name = strstr(line, "]: ");
        name = name && name < end ? strstr(name, " - ") : NULL;
        if (name && name < end)
            snprintf(out, size, "%.*s", (int)(end - name - 3), name + 3);
        return;
    }
}

/* "01-00: USB Audio : USB Audio : capture 1": card, device, id, name, and what it can. */
static bool parse_pcm(mic_card *c, const char *line, size_t n, const char *cards)
{
    char copy[256], card_name[64];
    snprintf(copy, sizeof copy, "%.*s", (int)n, line);
    if (sscanf(copy, "%d-%d:", &c->card, &c->device) != 2 || !strstr(copy, ": capture "))
        return false;
    const char *name = strstr(copy, " : ");
    char *end = name ? strstr(name + 3, " : ") : NULL;
    if (!end || c->card < 0 || c->device < 0)
        return false;
    *end = '\0';
    name += 3;
    find_card_name(card_name, sizeof card_name, cards, c->card);
    size_t n_card = strlen(card_name); /* PortAudio does not say the card's name twice either */
    if (!strncmp(name, card_name, n_card) && (name[n_card] == ' ' || !name[n_card]))
        name = name[n_card] ? name + n_card + 1 : "-";
    snprintf(c->name, sizeof c->name, "%s: %.40s (hw:%d,%d)", card_name, name, c->card, c->device);
    return true;
}

int mic_cards_parse(mic_card *out, int max, const char *cards, const char *pcms)
{
    int n = 0;
    for (const char *line = pcms; *line && n < max;) {
        const char *end = strchrnul(line, '\n');
        n += parse_pcm(&out[n], line, (size_t)(end - line), cards);
        line = *end ? end + 1 : end;
    }
    return n;
}

static void read_text(char *out, size_t size, const char *path)
{
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(out, 1, size - 1, f) : 0;
    out[n] = '\0';
    if (f)
        fclose(f);
}

int mic_cards_list(mic_card *out, int max)
{
    char cards[8192], pcms[8192];
    read_text(cards, sizeof cards, "/proc/asound/cards");
    read_text(pcms, sizeof pcms, "/proc/asound/pcm");
    return mic_cards_parse(out, max, cards, pcms);
}

omnid_status mic_cards_find(mic_card *out, const char *wanted, omnid_error *err)
{
    mic_card cards[MAX_CARDS];
    const char *names[MAX_CARDS];
    int at, n = mic_cards_list(cards, MAX_CARDS);
    for (int i = 0; i < n; i++)
        names[i] = cards[i].name;
    OMNID_TRY(mic_match(&at, names, n, wanted, err));
    *out = cards[at];
    return OMNID_OK;
}

bool mic_cards_names(const char *name, const mic_card *card)
{
    char number[32];
    snprintf(number, sizeof number, "(hw:%d,%d)", card->card, card->device);
    return strstr(name, number);
}

bool mic_cards_why(const mic_card *c, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/dev/snd/pcmC%dD%dc", c->card, c->device);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), error = errno;
    if (fd >= 0) {
        close(fd);
        return false;
    }
    if (error == EACCES || error == EPERM)
        snprintf(
            text, size,
            "no permission for %s: add the user that runs omnid to the group 'audio' (`usermod -aG audio USER`, then "
            "log in again)",
            path);
    else if (error == EBUSY || error == EAGAIN)
        snprintf(
            text, size,
            "in use by another program (`fuser -v %s` names it); where a sound server has the card, use mic:default",
            path);
    else if (error == ENOENT)
        snprintf(text, size, "%s is not there: a container needs it passed in (--device /dev/snd)", path);
    else
        snprintf(text, size, "%s cannot be opened: %s", path, strerror(error));
    return true;
}
