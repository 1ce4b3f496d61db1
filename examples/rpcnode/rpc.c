/* The methods: one row each. Every answer about slots, blocks, accounts and transactions is read
 * from the files of the node when it is asked for. */
#include "rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct answer {
    struct node *node;
    const json_t *params;
    uint64_t *subscription;
    struct buf result; /* JSON text */
    int code;          /* an error, if not 0 */
    char message[256];
    char data[64]; /* JSON text of the error's data, may be empty */
};

static void fail(struct answer *a, int code, const char *message)
{
    a->code = code;
    snprintf(a->message, sizeof(a->message), "%s", message);
}

static void add_json_text(struct buf *out, const char *text)
{
    json_t *value = json_string(text);
    char *dump = value != NULL ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    buf_printf(out, "%s", dump != NULL ? dump : "\"\"");
    free(dump);
    json_decref(value);
}

static void get_health(struct answer *a)
{
    uint64_t behind = 0;
    enum health health = health_of(a->node, &behind);
    if (health == HEALTH_OK) {
        buf_printf(&a->result, "\"ok\"");
        return;
    }
    a->code = -32005;
    if (health == HEALTH_UNKNOWN) {
        snprintf(a->message, sizeof(a->message), "Node is unhealthy");
        snprintf(a->data, sizeof(a->data), "{\"numSlotsBehind\":null}");
        return;
    }
    unsigned long long n = behind;
    snprintf(a->message, sizeof(a->message), "Node is behind by %llu slots", n);
    snprintf(a->data, sizeof(a->data), "{\"numSlotsBehind\":%llu}", n);
}

static void get_slot(struct answer *a)
{
    uint64_t slot = 0;
    if (!store_read_slot(&a->node->store, &slot))
        fail(a, -32603, "Internal error: the slot file is unreadable");
    buf_printf(&a->result, "%llu", (unsigned long long)slot);
}

static void get_version(struct answer *a)
{
    const char *version = a->node->options->report_version;
    if (version == NULL)
        version = a->node->version->text;
    buf_printf(&a->result, "{\"feature-set\":%u,\"solana-core\":", version_feature_set(version));
    add_json_text(&a->result, version);
    buf_printf(&a->result, "}");
}

static void get_identity(struct answer *a)
{
    buf_printf(&a->result, "{\"identity\":\"%s\"}", a->node->pubkey);
}

static void get_genesis_hash(struct answer *a)
{
    char text[256], hash[64];
    uint8_t bytes[HASH_BYTES];
    int n = read_text(a->node->store.ledger_fd, "genesis.bin", text, sizeof(text));
    if (n < 0) {
        fail(a, -32603, "Internal error: no genesis");
        return;
    }
    for (unsigned i = 0; i < HASH_BYTES / 8; i++) {
        uint64_t word = hash_bytes(text, (size_t)n, i);
        memcpy(bytes + 8 * i, &word, 8);
    }
    base58_encode(bytes, sizeof(bytes), hash, sizeof(hash));
    buf_printf(&a->result, "\"%s\"", hash);
}

static void write_block(struct buf *out, const struct block *b)
{
    char hash[64], previous[64], hash_hex[2 * HASH_BYTES + 1], data_hex[2 * PAYLOAD_BYTES + 1];
    base58_encode(b->hash, HASH_BYTES, hash, sizeof(hash));
    base58_encode(b->previous, HASH_BYTES, previous, sizeof(previous));
    hex_encode(b->hash, HASH_BYTES, hash_hex, sizeof(hash_hex));
    hex_encode(b->payload, PAYLOAD_BYTES, data_hex, sizeof(data_hex));
    buf_printf(out,
               "{\"blockHeight\":%llu,\"blockTime\":%llu,\"blockhash\":\"%s\","
               "\"parentSlot\":%llu,\"previousBlockhash\":\"%s\",\"hash\":\"%s\","
               "\"data\":\"%s\",\"fileHash\":\"%016llx\"}",
               (unsigned long long)b->slot, (unsigned long long)b->time_s, hash,
               (unsigned long long)b->parent, previous, hash_hex, data_hex,
               (unsigned long long)hash_bytes(b, sizeof(*b), 0));
}

static void get_block(struct answer *a)
{
    const json_t *wanted = json_array_get(a->params, 0);
    struct block b;
    uint64_t tip = 0;
    if (!json_is_integer(wanted) || json_integer_value(wanted) < 0) {
        fail(a, -32602, "Invalid params: expected a slot");
        return;
    }
    uint64_t slot = (uint64_t)json_integer_value(wanted);
    if (!store_read_slot(&a->node->store, &tip) || slot > tip) {
        a->code = -32004;
        snprintf(a->message, sizeof(a->message), "Block not available for slot %llu",
                 (unsigned long long)slot);
    } else if (!store_read_block(&a->node->store, slot, &b)) {
        a->code = -32007;
        snprintf(a->message, sizeof(a->message),
                 "Slot %llu was skipped, or missing due to ledger jump to recent snapshot",
                 (unsigned long long)slot);
    } else {
        write_block(&a->result, &b);
    }
}

/* Without any rent to pay, an account has the largest epoch, as a real node says it. */
#define RENT_EPOCH "18446744073709551615"

static void get_account_info(struct answer *a)
{
    const json_t *wanted = json_array_get(a->params, 0);
    const char *key = json_string_value(wanted);
    uint64_t slot = 0;
    struct account account;
    if (key == NULL && !json_is_integer(wanted)) {
        fail(a, -32602, "Invalid params: expected a key or a number");
        return;
    }
    uint64_t index =
        key != NULL ? hash_bytes(key, strlen(key), 0) : (uint64_t)json_integer_value(wanted);
    const char *version = a->node->options->report_version;
    if (version == NULL)
        version = a->node->version->text;
    store_read_slot(&a->node->store, &slot);
    bool found = store_read_account(&a->node->store, index, &account);
    if (found && account.slot > slot) /* written since: the answer is of that slot */
        slot = account.slot;
    buf_printf(&a->result, "{\"context\":{\"apiVersion\":");
    add_json_text(&a->result, version);
    buf_printf(&a->result, ",\"slot\":%llu},\"value\":", (unsigned long long)slot);
    if (found) {
        char data[64];
        base58_encode(account.data, sizeof(account.data), data, sizeof(data));
        buf_printf(&a->result,
                   "{\"data\":[\"%s\",\"base58\"],\"executable\":false,\"lamports\":%llu,"
                   "\"owner\":\"11111111111111111111111111111111\",\"rentEpoch\":" RENT_EPOCH ","
                   "\"space\":32,\"writtenAt\":%llu}}",
                   data, (unsigned long long)account.lamports, (unsigned long long)account.slot);
    } else {
        buf_printf(&a->result, "null}");
    }
}

static void get_data_hash(struct answer *a)
{
    uint64_t bytes = 0, hash = 0;
    uint64_t index = (uint64_t)json_integer_value(json_array_get(a->params, 0));
    if (!store_hash_data(&a->node->store, index, &bytes, &hash))
        buf_printf(&a->result, "null");
    else
        buf_printf(&a->result, "{\"bytes\":%llu,\"hash\":\"%016llx\"}", (unsigned long long)bytes,
                   (unsigned long long)hash);
}

static void send_transaction(struct answer *a)
{
    char signature[SIGNATURE_CAP];
    const char *data = json_string_value(json_array_get(a->params, 0));
    size_t n = data != NULL ? strlen(data) : 0;
    if (n == 0 || n > TX_DATA_MAX || strcspn(data, " \t\r\n") != n) {
        fail(a, -32602, "Invalid params: expected a text without blanks");
        return;
    }
    if (txlog_append(&a->node->txlog, data, atomic_load(&a->node->store.tip), signature) < 0)
        fail(a, -32603, strerror(errno));
    buf_printf(&a->result, "\"%s\"", signature);
}

static void get_transaction(struct answer *a)
{
    const char *signature = json_string_value(json_array_get(a->params, 0));
    struct tx tx;
    if (signature == NULL || !txlog_find(&a->node->txlog, signature, &tx)) {
        buf_printf(&a->result, "null");
        return;
    }
    buf_printf(&a->result, "{\"slot\":%llu,\"times\":%llu,\"data\":", (unsigned long long)tx.slot,
               (unsigned long long)tx.times);
    add_json_text(&a->result, tx.data);
    buf_printf(&a->result, "}");
}

static void get_transaction_count(struct answer *a)
{
    buf_printf(&a->result, "%llu", (unsigned long long)a->node->txlog.count);
}

static void get_first_block(struct answer *a)
{
    buf_printf(&a->result, "0");
}

/* The wait itself is in rpc_call.delay_ms. */
static void slow(struct answer *a)
{
    buf_printf(&a->result, "%lld", (long long)json_integer_value(json_array_get(a->params, 0)));
}

static void slot_subscribe(struct answer *a)
{
    if (a->subscription == NULL) {
        fail(a, -32601, "Method not found");
        return;
    }
    *a->subscription = a->node->next_subscription++;
    buf_printf(&a->result, "%llu", (unsigned long long)*a->subscription);
}

static void slot_unsubscribe(struct answer *a)
{
    if (a->subscription == NULL) {
        fail(a, -32601, "Method not found");
        return;
    }
    buf_printf(&a->result, *a->subscription != 0 ? "true" : "false");
    *a->subscription = 0;
}

static const struct {
    const char *name;
    void (*run)(struct answer *a);
} methods[] = {
    {"getHealth", get_health},
    {"getSlot", get_slot},
    {"getBlockHeight", get_slot},
    {"getVersion", get_version},
    {"getIdentity", get_identity},
    {"getGenesisHash", get_genesis_hash},
    {"getBlock", get_block},
    {"getFirstAvailableBlock", get_first_block},
    {"getAccountInfo", get_account_info},
    {"getDataHash", get_data_hash},
    {"sendTransaction", send_transaction},
    {"getTransaction", get_transaction},
    {"getTransactionCount", get_transaction_count},
    {"slow", slow},
    {"slotSubscribe", slot_subscribe},
    {"slotUnsubscribe", slot_unsubscribe},
};

void rpc_parse(const char *text, size_t n, struct rpc_call *ret)
{
    *ret = (struct rpc_call){.method = "-", .id = "null"};
    ret->request = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    const json_t *id = json_object_get(ret->request, "id");
    const char *method = json_string_value(json_object_get(ret->request, "method"));
    char *dump = id != NULL ? json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    if (dump != NULL && strlen(dump) < sizeof(ret->id))
        memcpy(ret->id, dump, strlen(dump) + 1);
    free(dump);
    if (method == NULL)
        return;
    ret->method = method;
    const json_t *params = json_object_get(ret->request, "params");
    json_int_t delay = json_integer_value(json_array_get(params, 0));
    if (strcmp(method, "slow") == 0 && delay > 0)
        ret->delay_ms = (uint64_t)delay;
}

void rpc_free(struct rpc_call *call)
{
    json_decref(call->request);
    call->request = NULL;
}

static void run_method(struct answer *a, const struct rpc_call *call)
{
    if (call->request == NULL) {
        fail(a, -32700, "Parse error");
        return;
    }
    if (!json_is_object(call->request) || strcmp(call->method, "-") == 0) {
        fail(a, -32600, "Invalid request");
        return;
    }
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i].name, call->method) == 0) {
            methods[i].run(a);
            return;
        }
    }
    fail(a, -32601, "Method not found");
}

void rpc_answer(struct node *node, const struct rpc_call *call, uint64_t *subscription,
                struct buf *out)
{
    struct answer a = {.node = node,
                       .params = json_object_get(call->request, "params"),
                       .subscription = subscription};
    run_method(&a, call);
    if (a.code == 0) {
        buf_printf(out, "{\"jsonrpc\":\"2.0\",\"result\":");
        buf_add(out, a.result.p, a.result.n);
    } else {
        buf_printf(out, "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":%d,\"message\":", a.code);
        add_json_text(out, a.message);
        if (a.data[0] != '\0')
            buf_printf(out, ",\"data\":%s", a.data);
        buf_printf(out, "}");
    }
    buf_printf(out, ",\"id\":%s}", call->id);
    buf_free(&a.result);
}

void rpc_write_slot_notification(struct buf *out, uint64_t slot, uint64_t subscription)
{
    unsigned long long n = slot;
    buf_printf(out,
               "{\"jsonrpc\":\"2.0\",\"method\":\"slotNotification\",\"params\":{\"result\":"
               "{\"slot\":%llu,\"parent\":%llu,\"root\":%llu},\"subscription\":%llu}}",
               n, n > 0 ? n - 1 : 0, n > 32 ? n - 32 : 0, (unsigned long long)subscription);
}
