/* mic_cards.h: the sound cards' capture devices as the kernel lists them for everyone, also those that ALSA and PortAudio
 * leave out because they are busy or forbidden. */
#ifndef OMNID_CAPTURE_MIC_CARDS_H
#define OMNID_CAPTURE_MIC_CARDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"

typedef struct {
    int card, device;
    char name[128]; /* as PortAudio writes it: "USB Audio: USB Audio (hw:1,0)" */
} mic_card;

/* The capture devices in the texts of /proc/asound/cards and /proc/asound/pcm, at most max; returns how many. Lines that
 * are no such lines are passed over. Pure. */
int mic_cards_parse(mic_card *out, int max, const char *cards, const char *pcms);
/* The same of this machine; 0 where there is no ALSA. */
int mic_cards_list(mic_card *out, int max);
/* The one of this machine's that is meant by a name, as mic_match has it; NOT_FOUND and ARGUMENT are its. */
omnid_status mic_cards_find(mic_card *out, const char *wanted, omnid_error *err);
/* Whether a name of PortAudio's is that card's: by the number in it alone. */
bool mic_cards_names(const char *name, const mic_card *card);
/* Why a card that is listed is not there for us: a sentence into text, after a look at its node. False: it can be opened. */
bool mic_cards_why(const mic_card *card, char *text, size_t size);

#endif
