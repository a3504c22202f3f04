/* See cipher.h. */
#include "cipher.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 16
#define TAG 16
#define HASH 32
#define NONCE 12

struct cipher {
    EVP_CIPHER_CTX *context; /* holds the key */
    uint64_t number;
    unsigned char vouched[HASH + 8 + HEAD];
};

static void little_endian(unsigned char *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

cipher *cipher_new(const unsigned char *key, const unsigned char *header, size_t size) {
    cipher *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->context = EVP_CIPHER_CTX_new();
    if (c->context && EVP_Digest(header, size, c->vouched, NULL, EVP_sha256(), NULL) == 1 &&
        EVP_EncryptInit_ex(c->context, EVP_aes_256_gcm(), NULL, key, NULL) == 1)
        return c;
    cipher_free(c);
    return NULL;
}

void cipher_free(cipher *c) {
    if (c)
        EVP_CIPHER_CTX_free(c->context); /* wipes the key */
    free(c);
}

size_t cipher_seal(cipher *c, enum chunk_kind kind, uint64_t first, const void *audio, size_t size, unsigned char *out) {
    unsigned char nonce[NONCE] = {0};
    int written = 0, rest = 0;
    uint64_t number = c->number;
    little_endian(out, size, 4);
    little_endian(out + 4, kind, 4);
    little_endian(out + 8, first, 8);
    little_endian(nonce, number, 8);
    little_endian(c->vouched + HASH, number, 8);
    memcpy(c->vouched + HASH + 8, out, HEAD);
    if (EVP_EncryptInit_ex(c->context, NULL, NULL, NULL, nonce) != 1 ||
        EVP_EncryptUpdate(c->context, NULL, &rest, c->vouched, (int)sizeof(c->vouched)) != 1 ||
        EVP_EncryptUpdate(c->context, out + HEAD, &written, audio, (int)size) != 1 ||
        EVP_EncryptFinal_ex(c->context, out + HEAD + written, &rest) != 1 ||
        EVP_CIPHER_CTX_ctrl(c->context, EVP_CTRL_GCM_GET_TAG, TAG, out + HEAD + size) != 1)
        return 0;
    c->number++;
    return size + CIPHER_EXTRA;
}
