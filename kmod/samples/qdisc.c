// SPDX-License-Identifier: GPL-2.0
/*
 * sample_qdisc: a queueing discipline, shmrate, whose rate a program sets with one store.
 * doc/kernel.md, "Samples", says how to use it.
 *
 *	program --store, release--> control word --load, acquire--> dequeue, in softirq
 *	program <------read-------- stream <----- drops, and rates as they are seen
 *
 * A bucket holds credit, which grows with the rate and which packets use up. A packet may go as
 * long as there is any, however long it is, and may leave a debt behind: so the rate is exact over
 * time, and no packet is too long for the bucket. Credit is counted in bytes times nanoseconds, so
 * that nothing is lost to rounding.
 *
 * The instance is looked up once, when the discipline is made, and held. Everything else happens
 * under the qdisc's own lock.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/overflow.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <net/netlink.h>
#include <net/pkt_sched.h>
#include <net/sch_generic.h>

#include "shmheap_kernel.h"
#include "shmheap_rate.h"

#define DEFAULT_LIMIT 65536
#define DEFAULT_BURST 4096
#define MAX_BURST (1U << 24) /* times NSEC_PER_SEC still fits */

/* A store wakes nobody. So a discipline that waits looks at its word this often. */
#define LOOK_NS (5 * NSEC_PER_MSEC)

struct shmrate {
	struct shmheap_instance *inst;
	struct qdisc_watchdog watchdog;
	u32 word;
	u32 limit; /* bytes */
	u32 burst; /* bytes */
	u64 rate; /* bytes a second, as last seen */
	u64 changes;
	u64 unrecorded;
	u64 drops;
	u64 last; /* when credit was last counted, ns */
	s64 credit; /* bytes times NSEC_PER_SEC */
};

static void record(struct Qdisc *sch, u16 type, u64 before, u32 bytes)
{
	struct shmrate *q = qdisc_priv(sch);
	struct shmheap_rate_record r = {
		.ifindex = qdisc_dev(sch)->ifindex,
		.handle = sch->handle,
		.rate = q->rate,
		.before = before,
		.bytes = bytes,
		.backlog = sch->qstats.backlog,
	};

	if (shmheap_stream_write(q->inst, type, &r, sizeof(r)))
		q->unrecorded++;
}

/* look() takes over the rate that the program has stored. */
static void look(struct Qdisc *sch)
{
	struct shmrate *q = qdisc_priv(sch);
	u64 rate = min_t(u64, shmheap_ctl_read(q->inst, q->word), SHMHEAP_RATE_MAX);
	u64 before = q->rate;

	if (rate == before)
		return;
	q->rate = rate;
	q->changes++;
	record(sch, SHMHEAP_RATE_RECORD_CHANGED, before, 0);
}

/*
 * count() adds the credit of the time since it was last counted, at the rate that held then, up to
 * the burst. The product overflows only beyond the burst.
 */
static void count(struct shmrate *q, u64 now)
{
	s64 most = (s64)q->burst * NSEC_PER_SEC;
	u64 earned;

	if (check_mul_overflow(now - q->last, q->rate, &earned) || earned > S64_MAX / 2)
		earned = S64_MAX / 2;
	q->credit = min_t(s64, q->credit + (s64)earned, most);
	q->last = now;
}

/* debt() returns how long it takes until there is credit again, at most until the next look. */
static u64 debt(const struct shmrate *q)
{
	if (!q->rate)
		return LOOK_NS;
	return min_t(u64, div64_u64(-q->credit, q->rate) + 1, LOOK_NS);
}

static int shmrate_enqueue(struct sk_buff *skb, struct Qdisc *sch, struct sk_buff **to_free)
{
	struct shmrate *q = qdisc_priv(sch);
	u32 bytes = qdisc_pkt_len(skb);

	if (sch->qstats.backlog + bytes <= q->limit)
		return qdisc_enqueue_tail(skb, sch);
	q->drops++;
	record(sch, SHMHEAP_RATE_RECORD_DROPPED, q->drops, bytes);
	return qdisc_drop(skb, sch, to_free);
}

static struct sk_buff *shmrate_dequeue(struct Qdisc *sch)
{
	struct shmrate *q = qdisc_priv(sch);
	u64 now = ktime_get_ns();
	struct sk_buff *skb;

	count(q, now);
	look(sch);
	if (!sch->q.head)
		return NULL;
	if (q->credit <= 0 || !q->rate) {
		qdisc_watchdog_schedule_ns(&q->watchdog, now + debt(q));
		qdisc_qstats_overlimit(sch);
		return NULL;
	}
	skb = qdisc_dequeue_head(sch);
	if (skb)
		q->credit -= (s64)qdisc_pkt_len(skb) * NSEC_PER_SEC;
	return skb;
}

static void shmrate_reset(struct Qdisc *sch)
{
	struct shmrate *q = qdisc_priv(sch);

	qdisc_reset_queue(sch);
	q->last = ktime_get_ns();
	q->credit = (s64)q->burst * NSEC_PER_SEC;
	qdisc_watchdog_cancel(&q->watchdog);
}

/* Not const, as 6.1 wants it. */
static struct netlink_range_validation burst_range = { .min = 1, .max = MAX_BURST };

static const struct nla_policy shmrate_policy[TCA_SHMRATE_MAX + 1] = {
	[TCA_SHMRATE_INSTANCE] = { .type = NLA_NUL_STRING, .len = SHMHEAP_NAME_SIZE - 1 },
	[TCA_SHMRATE_WORD] = NLA_POLICY_MAX(NLA_U32, SHMHEAP_CONTROL_WORDS - 1),
	[TCA_SHMRATE_LIMIT] = NLA_POLICY_MIN(NLA_U32, 1),
	[TCA_SHMRATE_BURST] = NLA_POLICY_FULL_RANGE(NLA_U32, &burst_range),
};

static int parse(struct nlattr *opt, struct nlattr **tb, struct netlink_ext_ack *extack)
{
	if (!opt) {
		NL_SET_ERR_MSG(extack, "an instance and a control word are needed");
		return -EINVAL;
	}
	return nla_parse_nested(tb, TCA_SHMRATE_MAX, opt, shmrate_policy, extack);
}

static void set_sizes(struct shmrate *q, struct nlattr **tb)
{
	if (tb[TCA_SHMRATE_LIMIT])
		q->limit = nla_get_u32(tb[TCA_SHMRATE_LIMIT]);
	if (tb[TCA_SHMRATE_BURST])
		q->burst = nla_get_u32(tb[TCA_SHMRATE_BURST]);
}

static int shmrate_change(struct Qdisc *sch, struct nlattr *opt, struct netlink_ext_ack *extack)
{
	struct nlattr *tb[TCA_SHMRATE_MAX + 1];
	struct shmrate *q = qdisc_priv(sch);
	int err = parse(opt, tb, extack);

	if (err)
		return err;
	if ((tb[TCA_SHMRATE_INSTANCE] &&
	     nla_strcmp(tb[TCA_SHMRATE_INSTANCE], shmheap_name(q->inst))) ||
	    (tb[TCA_SHMRATE_WORD] && nla_get_u32(tb[TCA_SHMRATE_WORD]) != q->word)) {
		NL_SET_ERR_MSG(extack, "instance and control word cannot be changed");
		return -EOPNOTSUPP;
	}
	sch_tree_lock(sch);
	set_sizes(q, tb);
	sch_tree_unlock(sch);
	return 0;
}

static int shmrate_init(struct Qdisc *sch, struct nlattr *opt, struct netlink_ext_ack *extack)
{
	struct nlattr *tb[TCA_SHMRATE_MAX + 1];
	struct shmrate *q = qdisc_priv(sch);
	char name[SHMHEAP_NAME_SIZE];
	int err;

	/* The kernel calls destroy after an init that failed, too. */
	qdisc_watchdog_init(&q->watchdog, sch);
	/* Instances know no namespaces: root of one may not reach into the instances of others. */
	if (!capable(CAP_NET_ADMIN))
		return -EPERM;
	err = parse(opt, tb, extack);
	if (err)
		return err;
	if (!tb[TCA_SHMRATE_INSTANCE] || !tb[TCA_SHMRATE_WORD]) {
		NL_SET_ERR_MSG(extack, "an instance and a control word are needed");
		return -EINVAL;
	}
	nla_strscpy(name, tb[TCA_SHMRATE_INSTANCE], sizeof(name));
	q->inst = shmheap_get(name);
	if (IS_ERR(q->inst)) {
		err = PTR_ERR(q->inst);
		q->inst = NULL;
		NL_SET_ERR_MSG(extack, "no such instance");
		return err;
	}
	q->word = nla_get_u32(tb[TCA_SHMRATE_WORD]);
	q->limit = DEFAULT_LIMIT;
	q->burst = DEFAULT_BURST;
	set_sizes(q, tb);
	q->rate = min_t(u64, shmheap_ctl_read(q->inst, q->word), SHMHEAP_RATE_MAX);
	q->last = ktime_get_ns();
	q->credit = (s64)q->burst * NSEC_PER_SEC;
	return 0;
}

static void shmrate_destroy(struct Qdisc *sch)
{
	struct shmrate *q = qdisc_priv(sch);

	qdisc_watchdog_cancel(&q->watchdog);
	shmheap_put(q->inst);
}

static int shmrate_dump(struct Qdisc *sch, struct sk_buff *skb)
{
	struct shmrate *q = qdisc_priv(sch);
	struct nlattr *nest = nla_nest_start(skb, TCA_OPTIONS);

	if (!nest)
		return -EMSGSIZE;
	if (nla_put_string(skb, TCA_SHMRATE_INSTANCE, shmheap_name(q->inst)) ||
	    nla_put_u32(skb, TCA_SHMRATE_WORD, q->word) ||
	    nla_put_u32(skb, TCA_SHMRATE_LIMIT, READ_ONCE(q->limit)) ||
	    nla_put_u32(skb, TCA_SHMRATE_BURST, READ_ONCE(q->burst))) {
		nla_nest_cancel(skb, nest);
		return -EMSGSIZE;
	}
	return nla_nest_end(skb, nest);
}

static int shmrate_dump_stats(struct Qdisc *sch, struct gnet_dump *d)
{
	struct shmrate *q = qdisc_priv(sch);
	struct shmheap_rate_stats stats;

	sch_tree_lock(sch);
	stats.rate = q->rate;
	stats.changes = q->changes;
	stats.unrecorded = q->unrecorded;
	sch_tree_unlock(sch);
	return gnet_stats_copy_app(d, &stats, sizeof(stats));
}

static struct Qdisc_ops shmrate_ops __read_mostly = {
	.id = SHMHEAP_RATE_KIND,
	.priv_size = sizeof(struct shmrate),
	.enqueue = shmrate_enqueue,
	.dequeue = shmrate_dequeue,
	.peek = qdisc_peek_dequeued,
	.init = shmrate_init,
	.reset = shmrate_reset,
	.change = shmrate_change,
	.destroy = shmrate_destroy,
	.dump = shmrate_dump,
	.dump_stats = shmrate_dump_stats,
	.owner = THIS_MODULE,
};

static int __init shmrate_module_init(void)
{
	return register_qdisc(&shmrate_ops);
}

static void __exit shmrate_module_exit(void)
{
	unregister_qdisc(&shmrate_ops);
}

module_init(shmrate_module_init);
module_exit(shmrate_module_exit);

MODULE_ALIAS("sch_" SHMHEAP_RATE_KIND);
MODULE_ALIAS("net-sch-" SHMHEAP_RATE_KIND); /* since 6.9 */
MODULE_DESCRIPTION("A queueing discipline whose rate is a word in shared memory");
MODULE_LICENSE("GPL");
