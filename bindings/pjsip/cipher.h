/* A recording's file as it is written: chunks of audio, each sealed with AES-256-GCM under the recording's own key.
 * docs/background/recordings.md has the format; cordboard.recordings.container reads it.
 *
 *   header | chunk 0 | chunk 1 | ... | chunk of the end
 *   chunk  = 4 bytes size of the audio, 4 bytes kind, 8 bytes number of its first frame | the audio, sealed | 16 bytes tag
 *
 * Numbers are little-endian. The nonce is the chunk's number in the file, which is not written: a key is for one file, so
 * no nonce is used twice, and a chunk that was moved does not open. What the tag vouches for besides: the header's SHA-256,
 * the chunk's number and its first 16 bytes.
 */
#ifndef CORDBOARD_CIPHER_H
#define CORDBOARD_CIPHER_H

#include <stddef.h>
#include <stdint.h>

#define CIPHER_KEY 32
#define CIPHER_EXTRA 32 /* bytes that a chunk is longer than its audio */

enum chunk_kind { CHUNK_AUDIO = 0, CHUNK_END = 1 };

typedef struct cipher cipher;

/* NULL if there is no memory, or OpenSSL has no AES-256-GCM. */
cipher *cipher_new(const unsigned char *key, const unsigned char *header, size_t size);
void cipher_free(cipher *c);

/* Seal a chunk into `out`, which has room for size + CIPHER_EXTRA; returns its bytes. 0 if OpenSSL fails: `out` is then
 * not to be written, since the next chunk has the same number. */
size_t cipher_seal(cipher *c, enum chunk_kind kind, uint64_t first, const void *audio, size_t size, unsigned char *out);

#endif
