/* password.c: keeps users and passwords out of everything that is told. Knows text only: no URI has to be well-formed. */
#include "capture/capture.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char stars[] = "***";
enum { N_STARS = sizeof stars - 1 };

/* Properties of elements and keys of cameras' paths ("/user=admin&password=x") whose values are nobody's business. */
static const char *const keys[] = {"user-id",  "user-pw", "proxy-id", "proxy-pw",   "username", "user",
                                   "password", "passwd",  "pwd",      "passphrase", "token"};

/* Puts the stars in the place of text[from, to). Returns where the text goes on behind them. */
static size_t put_stars(char *text, size_t size, size_t from, size_t to)
{
    size_t n_tail = strlen(text + to);
    if (from + N_STARS >= size) {
        text[from] = '\0';
        return from;
    }
    if (from + N_STARS + n_tail >= size)
        n_tail = size - 1 - from - N_STARS;
    memmove(text + from + N_STARS, text + to, n_tail);
    memcpy(text + from, stars, N_STARS);
    text[from + N_STARS + n_tail] = '\0';
    return from + N_STARS;
}

/* The words by which a sentence says what is wanted. */
static bool is_placeholder(const char *user, size_t n)
{
    static const char *const words[] = {"USER:PASSWORD", "[USER:PASSWORD"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == n && !memcmp(words[i], user, n))
            return true;
    return false;
}

static const char spaces[] = " \t\r\n";

/* Length of what stands before the last '@' of an authority, "user:password"; 0 = none. A password with a '/' in it that
 * nobody encoded is found by its ':', behind which no port stands. Quotes may be of the password. */
static size_t user_length(const char *authority)
{
    size_t n_word = strcspn(authority, spaces);
    size_t n = strcspn(authority, "/");
    n = n < n_word ? n : n_word;
    const char *colon = memchr(authority, ':', n);
    bool port = !colon || colon + 1 + strspn(colon + 1, "0123456789") >= authority + n;
    for (size_t i = n; i > 0; i--)
        if (authority[i - 1] == '@')
            return is_placeholder(authority, i - 1) ? 0 : i - 1;
    for (size_t i = n_word; i > n && !port && *authority != '['; i--)
        if (authority[i - 1] == '@')
            return i - 1;
    return 0;
}

/* Whether a key and its '=' stand at text[at]; then *value is where the value begins. */
static bool find_value(const char *text, size_t at, size_t *value)
{
    if (at > 0 && (isalnum((unsigned char)text[at - 1]) || strchr("-_", text[at - 1])))
        return false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        size_t n = strlen(keys[i]);
        if (strncasecmp(text + at, keys[i], n) != 0)
            continue;
        size_t equals = at + n + strspn(text + at + n, " ");
        if (text[equals] != '=')
            continue;
        *value = equals + 1 + strspn(text + equals + 1, " ");
        return text[*value] != '\0';
    }
    return false;
}

/* Where a value ends: at its closing quote; in a path ("?user=a&…") at the next key; else, as in a launch string, at the
 * first space that no '\\' stands before. Rather too much is hidden than too little. */
static size_t value_end(const char *text, size_t key, size_t value)
{
    char quote = text[value];
    size_t end = value;
    if (key > 0 && strchr("/?&;", text[key - 1]))
        return value + strcspn(text + value, " \t\r\n&;");
    if (quote != '"' && quote != '\'') {
        while (text[end] && !strchr(spaces, text[end]))
            end += text[end] == '\\' && text[end + 1] ? 2 : 1;
        return end;
    }
    end++;
    while (text[end] && text[end] != quote)
        end += text[end] == '\\' && text[end + 1] ? 2 : 1;
    return text[end] ? end + 1 : end;
}

void omnid_capture_hide_password(char *text, size_t size)
{
    for (size_t i = 0; text[i];) {
        size_t value, n_user;
        if (!strncmp(text + i, "://", 3) && (n_user = user_length(text + i + 3)) > 0)
            i = put_stars(text, size, i + 3, i + 3 + n_user);
        else if (find_value(text, i, &value))
            i = put_stars(text, size, value, value_end(text, i, value));
        else
            i++;
    }
}
