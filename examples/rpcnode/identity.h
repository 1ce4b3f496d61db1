/* A node's identity: a Solana keypair file (JSON, 64 bytes, the last 32 are the public key). */
#ifndef RPCNODE_IDENTITY_H
#define RPCNODE_IDENTITY_H

#define IDENTITY_MAX 48

/* Read the public key of a keypair file as base58 text. Returns NULL, or what is wrong with it. */
const char *identity_load(const char *path, char pubkey[IDENTITY_MAX]);
/* A key of this run only, as agave's without --identity. */
void identity_make_ephemeral(char pubkey[IDENTITY_MAX]);
/* `rpcnode keygen FILE`: random bytes in the right form (0600); refuses to overwrite. */
int identity_keygen(const char *path);

#endif
