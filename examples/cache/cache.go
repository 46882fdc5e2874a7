package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/lock"
)

const (
	buckets  = 1024
	maxItems = 2000
)

// Cache is what the root leads to. The chains of Buckets are the truth: which items there are. First, Last and Count are
// made anew from them when somebody has died under the lock.
type Cache struct {
	Lock        lock.Mutex
	Buckets     [buckets]*Item
	Pending     *Item // on its way in: made, and perhaps linked
	Dying       *Item // on its way out: perhaps unlinked, and not freed
	First, Last *Item // by use, the last used first
	Count       uint64
	Repairs     uint64 // how often somebody died under the lock
}

// Item is in one chain and in the list by use.
type Item struct {
	Chain, Prev, Next *Item
	Key               uint64
	Value             alloc.String
}

// client is a process that uses the cache.
type client struct {
	heap  *heap.Heap
	alloc *alloc.Allocator
	cache *Cache
}

// get returns the value of a key, and makes it where it is missing; the item that was used longest ago makes room.
func (c *client) get(ctx context.Context, key uint64, produce func() string) (value string, err error) {
	if err := c.lock(ctx); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.cache.Lock.Unlock(c.heap)) }()
	item := *c.cache.find(key)
	if item != nil {
		c.cache.unlist(item)
	} else {
		for c.cache.Count >= maxItems {
			if err := c.evict(); err != nil {
				return "", err
			}
		}
		if item, err = c.add(key, produce()); err != nil {
			return "", err
		}
	}
	c.cache.toFront(item)
	return string([]byte(item.Value.String())), nil // a copy: the item may go when the lock is free
}

// add makes an item. Until Pending is cleared, whoever comes after a death finds it there, linked or not.
func (c *client) add(key uint64, value string) (*Item, error) {
	item, err := alloc.NewInto(c.alloc, &c.cache.Pending)
	if err != nil {
		return nil, err
	}
	item.Key = key
	if err := alloc.MakeStringInto(c.alloc, &item.Value, value); err != nil {
		return nil, errors.Join(err, c.free(&c.cache.Pending))
	}
	*c.cache.find(key) = item // the end of its chain
	c.cache.Pending = nil
	c.cache.Count++
	return item, nil
}

// evict frees the item that was used longest ago.
func (c *client) evict() error {
	item := c.cache.Last
	if item == nil {
		return errors.New("the cache is full of nothing")
	}
	c.cache.Dying = item
	c.cache.unchain(item)
	c.cache.unlist(item)
	c.cache.Count--
	return c.free(&c.cache.Dying)
}

// free frees the item that a word leads to. The word is cleared last.
func (c *client) free(word **Item) error {
	if err := (*word).Value.Free(c.alloc); err != nil {
		return err
	}
	return alloc.DeleteFrom(c.alloc, word)
}

// lock takes the lock, and repairs the cache if the last holder died with it.
func (c *client) lock(ctx context.Context) error {
	err := c.cache.Lock.Lock(ctx, c.heap)
	if !errors.Is(err, lock.ErrOwnerDied) {
		return err
	}
	if err := c.repair(); err != nil { // nobody gets the lock any more
		return errors.Join(fmt.Errorf("repair the cache: %w", err), c.cache.Lock.Unlock(c.heap))
	}
	return c.cache.Lock.MarkConsistent(c.heap)
}

// repair is done again from its begin if its process dies, too.
func (c *client) repair() error {
	if _, err := c.alloc.Recover(); err != nil { // settles what NewInto and its like were at
		return err
	}
	if item := c.cache.Pending; item != nil && *c.cache.find(item.Key) == item {
		c.cache.Pending = nil
	} else if item != nil {
		if err := c.free(&c.cache.Pending); err != nil {
			return err
		}
	}
	if item := c.cache.Dying; item != nil {
		c.cache.unchain(item)
		if err := c.free(&c.cache.Dying); err != nil {
			return err
		}
	}
	c.cache.listAgain()
	c.cache.Repairs++
	return nil
}

// find returns the word of a chain that leads to the item with the key, or the nil at the end of the chain.
func (c *Cache) find(key uint64) **Item {
	at := &c.Buckets[key%buckets]
	for *at != nil && (*at).Key != key {
		at = &(*at).Chain
	}
	return at
}

// unchain takes an item out of its chain, if it is there, by one store.
func (c *Cache) unchain(item *Item) {
	if at := c.find(item.Key); *at == item {
		*at = item.Chain
	}
}

// toFront makes an item the last used.
func (c *Cache) toFront(item *Item) {
	item.Prev, item.Next = nil, c.First
	if c.First != nil {
		c.First.Prev = item
	} else {
		c.Last = item
	}
	c.First = item
}

// unlist takes an item out of the list by use.
func (c *Cache) unlist(item *Item) {
	before, behind := &c.First, &c.Last
	if item.Prev != nil {
		before = &item.Prev.Next
	}
	if item.Next != nil {
		behind = &item.Next.Prev
	}
	*before, *behind = item.Next, item.Prev
}

// listAgain makes the list by use anew. Its order is lost.
func (c *Cache) listAgain() {
	c.First, c.Last, c.Count = nil, nil, 0
	for _, chain := range c.Buckets {
		for item := chain; item != nil; item = item.Chain {
			c.toFront(item)
			c.Count++
		}
	}
}
