// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Messages: blocks that go round. The kernel fills an empty one, or empties a full one, and gives
 * it back; it never makes or frees one.
 */
#include <linux/export.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include "instance.h"
#include "port.h"

/* bring() copies out of a block. */
static int bring(struct shmheap_channel *ch, const struct shmheap_port *port, u64 off, void *to,
		 size_t n)
{
	if (!port->flat)
		return shmheap_copy_from(ch->inst, off, to, n);
	memcpy(to, port->flat + off, n);
	return 0;
}

static int put(struct shmheap_channel *ch, const struct shmheap_port *port, u64 off,
	       const void *from, size_t n)
{
	if (!port->flat)
		return shmheap_copy_to(ch->inst, off, from, n);
	memcpy(port->flat + off, from, n);
	return 0;
}

/* give_back() returns a block to programs through a queue, if that is attached. */
static void give_back(struct shmheap_channel *ch, enum shmheap_role role, u64 off)
{
	int err = shmheap_port_push(ch, role, off);

	if (err && err != -ENOTCONN)
		shmheap_count(&ch->side[role], stranded);
}

/* empty_block() takes the block that was kept, or one from FILL. */
static int empty_block(struct shmheap_channel *ch, u64 *off)
{
	*off = READ_ONCE(ch->stash) ? xchg(&ch->stash, 0) : 0;
	return *off ? 0 : shmheap_port_pop(ch, SHMHEAP_FILL, off);
}

/* keep() keeps a block for the next message; if there is one already, programs get it back. */
static void keep(struct shmheap_channel *ch, u64 off)
{
	if (cmpxchg(&ch->stash, 0, off))
		give_back(ch, SHMHEAP_COMPLETION, off);
}

/*
 * send_from() sends a message with a block from port's queue. Under RCU, so that the stash is its
 * too.
 */
static int send_from(struct shmheap_channel *ch, struct shmheap_port *port,
		     const struct shmheap_message *msg, const void *data)
{
	u64 off;
	int err;

	if (!shmheap_message_ok(msg, port->ring.block))
		return -EMSGSIZE;
	err = empty_block(ch, &off);
	if (err)
		return err;
	err = put(ch, port, off, msg, sizeof(*msg));
	err = err ?: put(ch, port, off + sizeof(*msg), data, msg->bytes);
	err = err ?: shmheap_port_push(ch, SHMHEAP_COMMAND, off);
	if (err)
		keep(ch, off);
	return err;
}

int shmheap_send(struct shmheap_channel *ch, const struct shmheap_message *msg, const void *data)
{
	struct shmheap_port *port;
	int err = -ENOTCONN;

	rcu_read_lock();
	port = rcu_dereference(ch->port[SHMHEAP_FILL]);
	if (port && rcu_access_pointer(ch->port[SHMHEAP_COMMAND]))
		err = send_from(ch, port, msg, data);
	rcu_read_unlock();
	return err;
}
EXPORT_SYMBOL_GPL(shmheap_send);

/*
 * copy_out() copies a message out of a block: header first, which is judged before anything is
 * done with it.
 */
static int copy_out(struct shmheap_channel *ch, const struct shmheap_port *port, u64 off,
		    struct shmheap_message *msg, void *data, size_t capacity)
{
	if (bring(ch, port, off, msg, sizeof(*msg)) || !shmheap_message_ok(msg, port->ring.block))
		return -EBADMSG;
	if (msg->bytes > capacity)
		return -EMSGSIZE;
	return bring(ch, port, off + sizeof(*msg), data, msg->bytes) ? -EBADMSG : 0;
}

int shmheap_recv(struct shmheap_channel *ch, struct shmheap_message *msg, void *data,
		 size_t capacity)
{
	struct shmheap_port *port;
	int err = -ENOTCONN;
	u64 off;

	rcu_read_lock();
	port = rcu_dereference(ch->port[SHMHEAP_REPLY]);
	if (port)
		err = shmheap_port_pop(ch, SHMHEAP_REPLY, &off);
	if (!err) {
		err = copy_out(ch, port, off, msg, data, capacity);
		if (err == -EBADMSG)
			shmheap_count(&ch->side[SHMHEAP_REPLY], bad);
		give_back(ch, SHMHEAP_COMPLETION, off);
	}
	rcu_read_unlock();
	return err;
}
EXPORT_SYMBOL_GPL(shmheap_recv);
