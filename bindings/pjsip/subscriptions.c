/* Linked in the place of PJMEDIA's own functions of the same name: `--wrap`, see make/extension.py.
 *
 * PJMEDIA and PJSUA subscribe to what each stream may publish (feedback in RTCP, key frames of video), to tell it to a callback that we
 * don't have. All subscriptions are one list, which each leg that comes or goes walks four times. The player of a file, which tells its end
 * in this way, subscribes to itself. */
#include <pjmedia/event.h>

pj_status_t __real_pjmedia_event_subscribe(pjmedia_event_mgr *manager, pjmedia_event_cb *callback, void *data, void *publisher);
pj_status_t __real_pjmedia_event_unsubscribe(pjmedia_event_mgr *manager, pjmedia_event_cb *callback, void *data, void *publisher);

pj_status_t __wrap_pjmedia_event_subscribe(pjmedia_event_mgr *manager, pjmedia_event_cb *callback, void *data, void *publisher) {
    return data == publisher ? __real_pjmedia_event_subscribe(manager, callback, data, publisher) : PJ_SUCCESS;
}

pj_status_t __wrap_pjmedia_event_unsubscribe(pjmedia_event_mgr *manager, pjmedia_event_cb *callback, void *data, void *publisher) {
    return data == publisher ? __real_pjmedia_event_unsubscribe(manager, callback, data, publisher) : PJ_SUCCESS;
}
