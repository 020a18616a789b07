/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer_regex.c - split patterns are written for Oniguruma (Ruby syntax); PCRE2 runs them.
 *
 * What differs and is rewritten: \s and \S (PCRE2 counts U+180E), \w and \W, \p{Long_Category} and \p{Script} (PCRE2
 * means script extensions), \uHHHH, {,n}, and `{n,m}+`, which is a repeat of a repeat there and possessive here. What
 * is refused rather than matched differently: class intersection && and nested classes, \h \R \X \b, (?m. Rejected:
 * linking Oniguruma (a second regex engine for patterns that need none of its own features).
 */
#include "tokenizer.h"
#include <ctype.h>

enum { MAX_GROUPS = 200 };

typedef struct translation {
    const char *where, *pattern;
    size_t n, i;
    tok_bytes *out;
    size_t atom;               /* where the last repeatable item starts in out */
    size_t groups[MAX_GROUPS]; /* where open groups start in out */
    int32_t depth;
    bool braced_exact, braced; /* the last thing written was {n} / any {..} */
} translation;

static kvb_status put(translation *t, const char *text) { return tok_bytes_add(t->out, text, strlen(text)); }

static kvb_status refuse(const translation *t, const char *what) {
    char shown[TOK_SHOWN];
    size_t from = t->i < 20 ? 0 : t->i - 20;
    kvb_fail(KVB_E_UNSUPPORTED, "tokenizer '%s': the split pattern uses %s at byte %zu, near '%s'", t->where, what,
             t->i, tok_shown(shown, t->pattern + from, t->n - from));
    kvb_hint("-> this construct means something else in PCRE2; such a tokenizer cannot be opened");
    return KVB_E_UNSUPPORTED;
}

/* Long names of general categories that PCRE2 does not know. */
static const char *short_category(const char *name, size_t n) {
    static const char *const names[][2] = {
        {"letter", "L"},
        {"uppercaseletter", "Lu"},
        {"lowercaseletter", "Ll"},
        {"titlecaseletter", "Lt"},
        {"modifierletter", "Lm"},
        {"otherletter", "Lo"},
        {"mark", "M"},
        {"nonspacingmark", "Mn"},
        {"spacingmark", "Mc"},
        {"enclosingmark", "Me"},
        {"number", "N"},
        {"decimalnumber", "Nd"},
        {"letternumber", "Nl"},
        {"othernumber", "No"},
        {"punctuation", "P"},
        {"connectorpunctuation", "Pc"},
        {"dashpunctuation", "Pd"},
        {"openpunctuation", "Ps"},
        {"closepunctuation", "Pe"},
        {"initialpunctuation", "Pi"},
        {"finalpunctuation", "Pf"},
        {"otherpunctuation", "Po"},
        {"symbol", "S"},
        {"mathsymbol", "Sm"},
        {"currencysymbol", "Sc"},
        {"modifiersymbol", "Sk"},
        {"othersymbol", "So"},
        {"separator", "Z"},
        {"spaceseparator", "Zs"},
        {"lineseparator", "Zl"},
        {"paragraphseparator", "Zp"},
        {"other", "C"},
        {"control", "Cc"},
        {"format", "Cf"},
        {"surrogate", "Cs"},
        {"privateuse", "Co"},
        {"unassigned", "Cn"},
        {"alpha", "Alphabetic"},
        {"alphabetic", "Alphabetic"},
        {"space", "White_Space"},
        {"whitespace", "White_Space"},
        {"digit", "Nd"},
        {"upper", "Uppercase"},
        {"lower", "Lowercase"},
        {"uppercase", "Uppercase"},
        {"lowercase", "Lowercase"},
        {"emoji", "Emoji"},
        {"any", "Any"},
    };
    char folded[40];
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (name[i] != '_' && name[i] != ' ' && name[i] != '-') {
            if (k + 1 == sizeof folded) return NULL;
            folded[k++] = (char)tolower((unsigned char)name[i]);
        }
    folded[k] = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i][0], folded) == 0) return names[i][1];
    return NULL;
}

/*
 * Letters and numbers of Unicode 15.0 to 16.0, which PCRE2 10.42 (Unicode 14) calls unassigned and the reference does
 * not. Naming them again for a newer PCRE2 changes nothing.
 */
/* clang-format off */
static const char later_letters[] =
    "\\x{1c89}-\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}"
    "\\x{10d4a}-\\x{10d65}\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{1123f}-\\x{11240}"
    "\\x{11380}-\\x{11389}\\x{1138b}\\x{1138e}\\x{11390}-\\x{113b5}"
    "\\x{113b7}\\x{113d1}\\x{113d3}\\x{11bc0}-\\x{11be0}"
    "\\x{11f02}\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}\\x{1342f}"
    "\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}\\x{16100}-\\x{1611d}\\x{16d40}-\\x{16d6c}"
    "\\x{18cff}\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}"
    "\\x{1e030}-\\x{1e06d}\\x{1e4d0}-\\x{1e4eb}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}"
    "\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}";
static const char later_numbers[] =
    "\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}"
    "\\x{16130}-\\x{16139}\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1d2c0}-\\x{1d2d3}"
    "\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}";
/* clang-format on */

/* \p{L} or \p{N} with what was added to Unicode later. */
static kvb_status letters_or_numbers(translation *t, char which, bool negated, bool in_class) {
    const char name[] = {'\\', negated && in_class ? 'P' : 'p', '{', which, '}', 0};
    if (!in_class) KVB_TRY(put(t, negated ? "[^" : "["));
    KVB_TRY(put(t, name));
    if (!in_class || !negated) KVB_TRY(put(t, which == 'L' ? later_letters : later_numbers));
    return in_class ? KVB_OK : put(t, "]");
}

/* \p{..} or \P{..}; t->i stands on the p. */
static kvb_status property(translation *t, bool in_class) {
    const char *p = t->pattern;
    bool negated = p[t->i] == 'P';
    if (t->i + 1 >= t->n) return refuse(t, "an unfinished \\p");
    const char *name = p + t->i + 1, *end = name + 1; /* \pL */
    if (*name == '{') {
        name++;
        end = memchr(name, '}', (size_t)(p + t->n - name));
        if (!end) return refuse(t, "an unfinished \\p{");
    }
    t->i = (size_t)(end - p) + (*end == '}' && name[-1] == '{');
    if (*name == '^' && name < end) {
        negated = !negated;
        name++;
    }
    size_t bytes = (size_t)(end - name);
    const char *known = short_category(name, bytes);
    if (known) {
        name = known;
        bytes = strlen(known);
    }
    if (bytes == 1 && (*name == 'L' || *name == 'N')) return letters_or_numbers(t, *name, negated, in_class);
    KVB_TRY(put(t, negated ? "\\P{" : "\\p{"));
    /* a script, without its extensions */
    if (!known && bytes > 2 && !memchr(name, '=', bytes)) KVB_TRY(put(t, "sc:"));
    KVB_TRY(tok_bytes_add(t->out, name, bytes));
    return put(t, "}");
}

#define WORD_CLASS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
/* Outside of a class Oniguruma also counts Latin-1's superscripts and fractions. */
#define WORD_ALONE WORD_CLASS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

/* An escape; t->i stands on the backslash. */
static kvb_status escape(translation *t, bool in_class) {
    if (t->i + 1 >= t->n) return refuse(t, "a backslash at its end");
    char c = t->pattern[++t->i];
    switch (c) {
    case 'p':
    case 'P':
        return property(t, in_class);
    case 's':
        t->i++;
        return put(t, "\\p{White_Space}");
    case 'S':
        t->i++;
        return put(t, "\\P{White_Space}");
    case 'w':
        t->i++;
        return put(t, in_class ? WORD_CLASS : "[" WORD_ALONE "]");
    case 'W':
        if (in_class) return refuse(t, "\\W inside a class");
        t->i++;
        return put(t, "[^" WORD_ALONE "]");
    case 'h':
    case 'H':
    case 'R':
    case 'X':
    case 'b':
    case 'B':
    case 'y':
    case 'Y':
    case 'K':
    case 'O':
    case 'N':
    case 'C':
        return refuse(t, (char[]){'\\', c, 0});
    case 'u':
        if (t->n - t->i < 5) return refuse(t, "an unfinished \\u");
        KVB_TRY(put(t, "\\x{"));
        KVB_TRY(tok_bytes_add(t->out, t->pattern + t->i + 1, 4));
        t->i += 5;
        return put(t, "}");
    default:
        KVB_TRY(put(t, "\\"));
        KVB_TRY(tok_bytes_add(t->out, &c, 1));
        t->i++;
        return KVB_OK;
    }
}

/* [:name:] inside a class; t->i stands on its bracket. PCRE2's alpha is \p{L}, Oniguruma's the Alphabetic property. */
static kvb_status posix_class(translation *t) {
    static const char *const names[][2] = {
        {"[:alpha:]", "\\p{Alphabetic}"},  {"[:alnum:]", "\\p{Alphabetic}\\p{Nd}"}, {"[:digit:]", "\\p{Nd}"},
        {"[:space:]", "\\p{White_Space}"}, {"[:upper:]", "\\p{Uppercase}"},         {"[:lower:]", "\\p{Lowercase}"},
        {"[:word:]", WORD_CLASS},          {"[:punct:]", "\\p{P}$+<=>^`|~"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i][0]);
        if (t->n - t->i < n || memcmp(t->pattern + t->i, names[i][0], n) != 0) continue;
        t->i += n;
        return put(t, names[i][1]);
    }
    return refuse(t, "an unknown [:class:]");
}

static kvb_status class(translation *t) {
    const char *p = t->pattern;
    KVB_TRY(put(t, "["));
    t->i++;
    if (t->i < t->n && p[t->i] == '^') {
        KVB_TRY(put(t, "^"));
        t->i++;
    }
    for (bool first = true; t->i < t->n; first = false) {
        char c = p[t->i];
        if (c == ']' && !first) {
            t->i++;
            return put(t, "]");
        }
        if (c == '&' && t->i + 1 < t->n && p[t->i + 1] == '&') return refuse(t, "class intersection (&&)");
        if (c == '[' && !(t->i + 1 < t->n && p[t->i + 1] == ':')) return refuse(t, "a class inside a class");
        if (c == '[') {
            KVB_TRY(posix_class(t));
        } else if (c == '\\')
            KVB_TRY(escape(t, true));
        else {
            KVB_TRY(tok_bytes_add(t->out, &c, 1));
            t->i++;
        }
    }
    return refuse(t, "an unfinished class");
}

/* {n}, {n,}, {n,m} or {,m}; anything else is a literal brace. False when it is literal. */
static bool read_braces(const translation *t, size_t *end, bool *exact, bool *no_minimum) {
    size_t i = t->i + 1, digits = 0, after = 0;
    bool comma = false;
    for (; i < t->n && isdigit((unsigned char)t->pattern[i]); i++) digits++;
    if (i < t->n && t->pattern[i] == ',') {
        comma = true;
        for (i++; i < t->n && isdigit((unsigned char)t->pattern[i]); i++) after++;
    }
    if (i >= t->n || t->pattern[i] != '}' || (!digits && !after)) return false;
    *end = i + 1;
    *exact = !comma;
    *no_minimum = !digits;
    return true;
}

/* Wraps the last item with its braces, so that what follows repeats the whole. */
static kvb_status wrap_atom(translation *t) {
    KVB_TRY(tok_bytes_reserve(t->out, 4));
    memmove(t->out->data + t->atom + 3, t->out->data + t->atom, t->out->n - t->atom);
    memcpy(t->out->data + t->atom, "(?:", 3);
    t->out->n += 3;
    return put(t, ")");
}

static kvb_status quantifier(translation *t, char c) {
    size_t end;
    bool exact, no_minimum;
    if (c == '{' && read_braces(t, &end, &exact, &no_minimum)) {
        KVB_TRY(put(t, no_minimum ? "{0" : "{"));
        KVB_TRY(tok_bytes_add(t->out, t->pattern + t->i + 1, end - t->i - 1));
        t->i = end;
        t->braced = true;
        t->braced_exact = exact;
        return KVB_OK;
    }
    if (c == '{') {
        t->atom = t->out->n;
        t->i++;
        return put(t, "\\{");
    }
    if (t->braced && (c == '+' || c == '*' || (c == '?' && t->braced_exact))) KVB_TRY(wrap_atom(t));
    t->braced = t->braced_exact = false;
    t->i++;
    return tok_bytes_add(t->out, &c, 1);
}

static kvb_status open_group(translation *t) {
    const char *p = t->pattern + t->i;
    size_t left = t->n - t->i;
    if (t->depth == MAX_GROUPS) return refuse(t, "too many nested groups");
    if (left > 2 && p[1] == '?')
        for (size_t k = 2; k < left && (islower((unsigned char)p[k]) || p[k] == '-'); k++)
            if (p[k] == 'm') return refuse(t, "(?m");
    t->groups[t->depth++] = t->out->n;
    KVB_TRY(put(t, "("));
    t->i++;
    if (left > 1 && p[1] == '?') { /* so that this ? is not taken for a quantifier */
        KVB_TRY(put(t, "?"));
        t->i++;
    }
    return KVB_OK;
}

kvb_status tok_regex_translate(const char *where, const char *pattern, size_t n, tok_bytes *out) {
    translation t = {.where = where, .pattern = pattern, .n = n, .out = out};
    out->n = 0;
    KVB_TRY(tok_bytes_reserve(out, n + 1));
    while (t.i < n) {
        char c = pattern[t.i];
        if (c == '{' || c == '+' || c == '*' || c == '?') {
            KVB_TRY(quantifier(&t, c));
            continue;
        }
        t.braced = t.braced_exact = false;
        if (c != ')') t.atom = out->n;
        if (c == '\\')
            KVB_TRY(escape(&t, false));
        else if (c == '[')
            KVB_TRY(class(&t));
        else if (c == '(')
            KVB_TRY(open_group(&t));
        else if (c == ')') {
            if (t.depth == 0) return refuse(&t, "a closing bracket without an opening one");
            t.atom = t.groups[--t.depth];
            t.i++;
            KVB_TRY(put(&t, ")"));
        } else {
            uint32_t code;
            size_t bytes = tok_utf8_read(pattern + t.i, n - t.i, &code);
            if (!bytes) return refuse(&t, "invalid UTF-8");
            KVB_TRY(tok_bytes_add(out, pattern + t.i, bytes));
            t.i += bytes;
        }
    }
    return KVB_OK;
}
