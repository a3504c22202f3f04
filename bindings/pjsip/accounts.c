/* Transports of SIP, accounts (who we are, for whom), and what SIP says outside of calls. See node.h. */
#include "accounts.h"
#include "node.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define SOURCES_MAX 4096

static struct {
    pjsua_transport_id transports[3];
    pjsua_acc_id usual[3]; /* the account of calls by each transport that belong to no trunk; the first one added */
    struct {
        uint32_t network, mask;
        int transport;
        pjsua_acc_id account;
    } sources[SOURCES_MAX];
    int source_count;
    char address[64];
    int rtp_port, rtp_ports, session_s;
} accounts;

/* ---- transports */

static const pjsip_transport_type_e types[] = {PJSIP_TRANSPORT_UDP, PJSIP_TRANSPORT_TCP, PJSIP_TRANSPORT_TLS};

static void set_tls(pjsip_tls_setting *tls, const node_settings *settings) {
    tls->cert_file = pj_str((char *)settings->certificate);
    tls->privkey_file = pj_str((char *)settings->key);
    tls->ca_list_file = pj_str((char *)settings->authority);
    tls->method = PJSIP_TLSV1_2_METHOD;
    tls->proto = PJ_SSL_SOCK_PROTO_TLS1_2 | PJ_SSL_SOCK_PROTO_TLS1_3;
    tls->verify_server = settings->verify;
    tls->verify_client = settings->verify_clients;
    tls->require_client_cert = settings->verify_clients;
    tls->timeout.sec = 5; /* of a handshake */
}

int accounts_start(const node_settings *settings) {
    accounts.source_count = 0;
    accounts.rtp_port = settings->rtp_port;
    accounts.rtp_ports = settings->rtp_ports;
    accounts.session_s = settings->session_s;
    snprintf(accounts.address, sizeof(accounts.address), "%s", settings->address);
    for (int i = 0; i < 3; i++) {
        pjsua_transport_config config;
        accounts.transports[i] = PJSUA_INVALID_ID;
        accounts.usual[i] = PJSUA_INVALID_ID;
        if (settings->ports[i] < 0)
            continue;
        pjsua_transport_config_default(&config);
        config.port = (unsigned)settings->ports[i];
        config.bound_addr = pj_str((char *)settings->address);
        if (types[i] == PJSIP_TRANSPORT_TLS)
            set_tls(&config.tls_setting, settings);
        int status = pjsua_transport_create(types[i], &config, &accounts.transports[i]);
        if (status != PJ_SUCCESS)
            return status;
    }
    return PJ_SUCCESS;
}

int node_port(int transport) {
    pjsua_transport_info info;
    node_enter();
    if (transport < 0 || transport > 2 || accounts.transports[transport] == PJSUA_INVALID_ID)
        return -1;
    return pjsua_transport_get_info(accounts.transports[transport], &info) == PJ_SUCCESS ? info.local_name.port : -1;
}

/* ---- accounts */

static void set_srtp(pjsua_acc_config *config, const node_account *account) {
    config->use_srtp = (pjmedia_srtp_use)account->srtp;
    config->srtp_secure_signaling = 0; /* whoever made the account left out SDES where it has no TLS */
    config->srtp_opt.keying_count = 0;
    for (const char *at = account->keying; *at && config->srtp_opt.keying_count < PJMEDIA_SRTP_KEYINGS_COUNT;) {
        size_t size = strcspn(at, ",");
        config->srtp_opt.keying[config->srtp_opt.keying_count++] =
            size == 4 && memcmp(at, "dtls", 4) == 0 ? PJMEDIA_SRTP_KEYING_DTLS_SRTP : PJMEDIA_SRTP_KEYING_SDES;
        at += size + (at[size] == ',');
    }
}

int node_account_add(const node_account *account, int *id) {
    pjsua_acc_config config;
    node_enter();
    pjsua_acc_config_default(&config);
    config.id = pj_str((char *)account->id);
    if (account->transport == NODE_UDP && strcmp(accounts.address, "0.0.0.0") != 0) /* else the system is asked for our address, three times a call */
        config.transport_id = accounts.transports[NODE_UDP];
    config.allow_contact_rewrite = 0;
    config.ka_interval = 0;
    config.rtp_cfg.bound_addr = pj_str(accounts.address);
    config.rtp_cfg.port = (unsigned)accounts.rtp_port;
    config.rtp_cfg.port_range = (unsigned)accounts.rtp_ports;
    config.rtp_cfg.randomize_port = PJ_TRUE; /* nodes of one machine begin at different places: PJSUA tries 100 ports */
    config.use_timer = PJSUA_SIP_TIMER_OPTIONAL;
    config.timer_setting.sess_expires = (unsigned)accounts.session_s;
    set_srtp(&config, account);
    if (account->user[0]) {
        config.cred_count = 1;
        config.cred_info[0].scheme = pj_str("digest");
        config.cred_info[0].realm = pj_str((char *)account->realm);
        config.cred_info[0].username = pj_str((char *)account->user);
        config.cred_info[0].data_type = PJSIP_CRED_DATA_PLAIN_PASSWD;
        config.cred_info[0].data = pj_str((char *)account->password);
    }
    if (account->registrar[0]) {
        config.reg_uri = pj_str((char *)account->registrar);
        config.reg_timeout = (unsigned)account->expires;
        config.reg_retry_interval = 30;
        config.reg_first_retry_interval = 2;
    }
    int status = pjsua_acc_add(&config, PJ_FALSE, id);
    if (status == PJ_SUCCESS && accounts.usual[account->transport] == PJSUA_INVALID_ID)
        accounts.usual[account->transport] = *id;
    return status;
}

int node_account_source(int account, int transport, const char *network, int bits) {
    struct in_addr address;
    if (accounts.source_count == SOURCES_MAX || inet_pton(AF_INET, network, &address) != 1)
        return PJ_ETOOMANY;
    accounts.sources[accounts.source_count].mask = htonl(bits ? ~0u << (32 - bits) : 0u);
    accounts.sources[accounts.source_count].network = address.s_addr;
    accounts.sources[accounts.source_count].transport = transport;
    accounts.sources[accounts.source_count++].account = account;
    return PJ_SUCCESS;
}

void accounts_choose(const pjsip_rx_data *rdata, pjsua_acc_id *account) {
    const pj_sockaddr *from = &rdata->pkt_info.src_addr;
    int transport = 0;
    for (int i = 1; i < 3; i++)
        if (rdata->tp_info.transport->key.type == types[i])
            transport = i;
    *account = accounts.usual[transport];
    for (int i = 0; i < accounts.source_count && from->addr.sa_family == pj_AF_INET(); i++)
        if (accounts.sources[i].transport == transport &&
            (from->ipv4.sin_addr.s_addr & accounts.sources[i].mask) == accounts.sources[i].network) {
            *account = accounts.sources[i].account;
            return;
        }
}

void accounts_registered(pjsua_acc_id account, pjsua_reg_info *info) {
    node_event event = {.kind = NODE_REGISTERED, .call = account, .code = info->cbparam->code, .flag = info->renew};
    node_push(&event);
}

/* ---- OPTIONS */

static void on_pong(void *number, pjsip_event *event) {
    node_event pong = {.kind = NODE_PONG, .leg = (int64_t)(intptr_t)number};
    if (event->type == PJSIP_EVENT_TSX_STATE && event->body.tsx_state.type == PJSIP_EVENT_RX_MSG)
        pong.code = event->body.tsx_state.tsx->status_code;
    node_push(&pong);
}

int node_ping(const char *to, int account, int64_t *number) {
    pjsip_tx_data *request;
    pj_str_t target = pj_str((char *)to), from, method_name = pj_str("OPTIONS");
    pjsua_acc_info info;
    pjsip_method method;
    node_enter();
    int status = pjsua_acc_get_info(account, &info);
    if (status != PJ_SUCCESS)
        return status;
    from = info.acc_uri;
    pjsip_method_init_np(&method, &method_name);
    status = pjsip_endpt_create_request(pjsua_get_pjsip_endpt(), &method, &target, &from, &target, NULL, NULL, -1, NULL, &request);
    if (status != PJ_SUCCESS)
        return status;
    *number = node_number();
    return pjsip_endpt_send_request(pjsua_get_pjsip_endpt(), request, -1, (void *)(intptr_t)*number, &on_pong);
}

/* ---- audio from its announced source alone: the kernel drops what others send, before it wakes anybody */

static void accept_only(int socket, const pj_sockaddr *from, int with_port) {
    struct sock_filter code[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)SKF_NET_OFF + 12}, /* address of the sender, IPv4 */
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 3, ntohl(from->ipv4.sin_addr.s_addr)},
        {BPF_LD | BPF_H | BPF_ABS, 0, 0, 0}, /* port of the sender: the packet begins with its UDP header here */
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, ntohs(from->ipv4.sin_port)},
        {BPF_RET | BPF_K, 0, 0, 0xffffffff},
        {BPF_RET | BPF_K, 0, 0, 0},
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    if (!with_port) {
        code[2] = (struct sock_filter){BPF_JMP | BPF_JA, 0, 0, 1};
        code[3] = code[5];
    }
    setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

void accounts_strict_rtp(pjsua_call_id call, pjmedia_stream *stream) {
    pjmedia_transport_info transport;
    pjmedia_stream_info info;
    pjmedia_transport_info_init(&transport);
    if (pjsua_call_get_med_transport_info(call, 0, &transport) != PJ_SUCCESS ||
        pjmedia_stream_get_info(stream, &info) != PJ_SUCCESS || info.rem_addr.addr.sa_family != pj_AF_INET())
        return;
    accept_only((int)transport.sock_info.rtp_sock, &info.rem_addr, 1);
    accept_only((int)transport.sock_info.rtcp_sock, &info.rem_addr, 0);
}
