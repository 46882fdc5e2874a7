// SPDX-License-Identifier: GPL-2.0
/*
 * sample_regs: a register of QEMU's device edu that programs and an interrupt handler change, each
 * other bits. doc/kernel.md, "Samples", says how to use it.
 *
 *	program:  lock, read, modify, write, unlock      (package lock's Guard)
 *	handler:  note the change; then, or in a work:
 *	          trylock, read, modify, write, unlock
 *
 * The lock is a word in ordinary memory that they share: in a heap, whose page the kernel pins.
 * The kernel never waits for it. A change that could not be made at once stays noted, together
 * with those that come after it, until the work finds the lock free: so none is lost, and a
 * program that keeps the lock delays the register and nothing else.
 *
 * Lock order: mmap_lock, state, lock, and then the programs' lock, which is only tried.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "../compat.h"
#include "shmheap_mutex.h"
#include "shmheap_regs.h"

/* Registers of the device, beside the shared one. */
#define EDU_IRQ_STATUS 0x24
#define EDU_IRQ_ACK 0x64

#define WORK_TRIES 64 /* before the work lets others have the thread */
#define WORK_PAUSE_MS 10

static DEFINE_IDA(ids);

struct regs {
	struct kref kref; /* of the driver and of each open file */
	struct pci_dev *pdev; /* valid until gone */
	void __iomem *bar; /* likewise */
	struct miscdevice misc;
	int id;
	char name[24];

	spinlock_t lock; /* the rest of this part; taken by the handler */
	struct shmheap_mutex *mutex; /* the programs', who may write anything; NULL for none */
	u64 set; /* noted changes: a bit is in one of both at most */
	u64 clear;
	u64 left; /* what the kernel's part of the register was when the kernel left it */
	struct shmheap_regs_stat stat; /* but for waiting, which is what set and clear say */
	struct delayed_work work;

	struct mutex state; /* the rest */
	bool gone; /* the device; read under lock too, so written under both */
	unsigned int files;
	struct page *pinned; /* the page that mutex is in */
	struct inode *inode; /* of the first file: the mappings of all hang on it */
};

struct regs_file {
	struct regs *regs;
	u64 peer; /* 0 for one that has not attached; set once, under state */
};

static void regs_free(struct kref *kref)
{
	struct regs *r = container_of(kref, struct regs, kref);

	if (r->inode)
		iput(r->inode);
	mutex_destroy(&r->state);
	ida_free(&ids, r->id);
	kfree(r);
}

/* A later change of a bit replaces an earlier one. Under lock. */
static void note(struct regs *r, u64 clear, u64 set)
{
	r->set = (r->set & ~clear) | set;
	r->clear = (r->clear | clear) & ~set;
}

static bool noted(const struct regs *r)
{
	return r->set | r->clear;
}

/* change() makes the noted changes. Nobody else has the register. */
static void change(struct regs *r)
{
	u64 v = readq(r->bar + SHMHEAP_REGS_REGISTER);

	if ((v & SHMHEAP_REGS_KERNEL_MASK) != r->left)
		r->stat.lost++;
	v = (v & ~r->clear) | r->set;
	writeq(v, r->bar + SHMHEAP_REGS_REGISTER);
	r->left = v & SHMHEAP_REGS_KERNEL_MASK;
	r->set = 0;
	r->clear = 0;
}

/*
 * apply() makes the noted changes if it can have the register, and reports whether it could. An
 * owner that died has written the register or has not, so that it is consistent in any case. Under
 * lock, with interrupts off.
 */
static bool apply(struct regs *r)
{
	int err;

	if (!r->mutex) {
		change(r);
		return true;
	}
	err = shmheap_mutex_trylock(r->mutex);
	if (err == -EOWNERDEAD)
		shmheap_mutex_consistent(r->mutex);
	else if (err)
		return false;
	change(r);
	if (shmheap_mutex_unlock(r->mutex))
		r->stat.meddled++;
	return true;
}

static irqreturn_t regs_irq(int irq, void *data)
{
	struct regs *r = data;
	u32 status = readl(r->bar + EDU_IRQ_STATUS);

	if (!status)
		return IRQ_NONE;
	writel(status, r->bar + EDU_IRQ_ACK);
	spin_lock(&r->lock);
	r->stat.irqs++;
	note(r, SHMHEAP_REGS_KERNEL_MASK,
	     (r->stat.irqs << SHMHEAP_REGS_KERNEL_SHIFT) & SHMHEAP_REGS_KERNEL_MASK);
	if (apply(r))
		r->stat.at_once++;
	else
		schedule_delayed_work(&r->work, 0);
	spin_unlock(&r->lock);
	return IRQ_HANDLED;
}

/* try_later() reports whether nothing is left to do. */
static bool try_later(struct regs *r)
{
	bool wanted, done;

	spin_lock_irq(&r->lock);
	wanted = !r->gone && noted(r);
	done = !wanted || apply(r);
	if (wanted && done)
		r->stat.later++;
	if (!done)
		r->stat.tries++;
	spin_unlock_irq(&r->lock);
	return done;
}

static void regs_work(struct work_struct *work)
{
	struct regs *r = container_of(to_delayed_work(work), struct regs, work);
	int i;

	for (i = 0; i < WORK_TRIES; i++) {
		if (try_later(r))
			return;
		usleep_range(50, 200);
	}
	schedule_delayed_work(&r->work, msecs_to_jiffies(WORK_PAUSE_MS));
}

/* Mappings of the device are filled page by page, so that they can be emptied when it goes. */
static vm_fault_t device_fault(struct vm_fault *vmf)
{
	struct regs_file *f = vmf->vma->vm_private_data;
	vm_fault_t ret = VM_FAULT_SIGBUS;

	mutex_lock(&f->regs->state);
	if (!f->regs->gone)
		ret = vmf_insert_pfn(vmf->vma, vmf->address,
				     pci_resource_start(f->regs->pdev, 0) >> PAGE_SHIFT);
	mutex_unlock(&f->regs->state);
	return ret;
}

static const struct vm_operations_struct device_vm_ops = {
	.fault = device_fault,
};

static int regs_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_pgoff)
		return -ENXIO;
	if (vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;
	if (!(vma->vm_flags & VM_SHARED))
		return -EOPNOTSUPP;
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	shmheap_vm_flags_mod(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYEXEC);
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	vma->vm_private_data = file->private_data;
	vma->vm_ops = &device_vm_ops;
	return 0;
}

/* Under state. */
static int attach(struct regs_file *f, u64 peer, struct page *page, unsigned int offset)
{
	struct shmheap_mutex *mutex = page_address(page) + offset;
	struct regs *r = f->regs;

	if (r->gone)
		return -ENODEV;
	if (f->peer || (r->mutex && r->mutex != mutex))
		return -EBUSY;
	f->peer = peer;
	if (r->mutex)
		return 0;
	r->pinned = page;
	spin_lock_irq(&r->lock);
	r->mutex = mutex;
	spin_unlock_irq(&r->lock);
	return 0;
}

static long regs_attach(struct regs_file *f, const struct shmheap_regs_attach *a)
{
	struct regs *r = f->regs;
	struct page *page;
	bool keep;
	int err;

	if (!a->peer || a->peer >= SHMHEAP_PEER_KERNEL || a->lock % sizeof(struct shmheap_mutex))
		return -EINVAL;
	if (pin_user_pages_fast(a->lock, 1, FOLL_WRITE | FOLL_LONGTERM, &page) != 1)
		return -EFAULT;
	mutex_lock(&r->state);
	keep = !r->pinned;
	err = attach(f, a->peer, page, offset_in_page(a->lock));
	mutex_unlock(&r->state);
	if (err || !keep)
		unpin_user_page(page);
	return err;
}

static void regs_stat(struct regs *r, struct shmheap_regs_stat *s)
{
	spin_lock_irq(&r->lock);
	*s = r->stat;
	s->waiting = noted(r);
	spin_unlock_irq(&r->lock);
}

static long regs_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct regs_file *f = file->private_data;
	void __user *user = (void __user *)arg;
	struct shmheap_regs_attach a;
	struct shmheap_regs_stat s;

	switch (cmd) {
	case SHMHEAP_REGS_IOC_ATTACH:
		if (copy_from_user(&a, user, sizeof(a)))
			return -EFAULT;
		return regs_attach(f, &a);
	case SHMHEAP_REGS_IOC_STAT:
		regs_stat(f->regs, &s);
		return copy_to_user(user, &s, sizeof(s)) ? -EFAULT : 0;
	}
	return -ENOTTY;
}

/*
 * All device files that lead here share the mappings of the first one, for regs_remove() to find.
 */
static int regs_open(struct inode *inode, struct file *file)
{
	struct regs *r = container_of(file->private_data, struct regs, misc);
	struct regs_file *f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);

	if (!f)
		return -ENOMEM;
	kref_get(&r->kref);
	f->regs = r;
	file->private_data = f;
	mutex_lock(&r->state);
	if (!r->inode) {
		ihold(inode);
		r->inode = inode;
	}
	file->f_mapping = r->inode->i_mapping;
	r->files++;
	mutex_unlock(&r->state);
	return 0;
}

/* detach() forgets the lock once no file is left to share the register with. Under state. */
static struct page *detach(struct regs *r)
{
	struct page *page = r->pinned;

	if (r->files)
		return NULL;
	spin_lock_irq(&r->lock);
	r->mutex = NULL;
	if (!r->gone && noted(r)) {
		change(r);
		r->stat.later++;
	}
	spin_unlock_irq(&r->lock);
	r->pinned = NULL;
	return page;
}

/* No mapping of the file is left: what its peer holds still, it died with. */
static int regs_release(struct inode *inode, struct file *file)
{
	struct regs_file *f = file->private_data;
	struct regs *r = f->regs;
	struct page *page;

	mutex_lock(&r->state);
	r->files--;
	spin_lock_irq(&r->lock);
	if (f->peer && shmheap_mutex_bury(r->mutex, f->peer))
		r->stat.buried++;
	spin_unlock_irq(&r->lock);
	page = detach(r);
	mutex_unlock(&r->state);
	if (page)
		unpin_user_pages_dirty_lock(&page, 1, true);
	kfree(f);
	kref_put(&r->kref, regs_free);
	return 0;
}

static const struct file_operations regs_fops = {
	.owner = THIS_MODULE,
	.open = regs_open,
	.release = regs_release,
	.mmap = regs_mmap,
	.unlocked_ioctl = regs_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct regs *regs_new(struct pci_dev *pdev)
{
	struct regs *r = kzalloc(sizeof(*r), GFP_KERNEL);

	if (!r)
		return NULL;
	r->id = ida_alloc(&ids, GFP_KERNEL);
	if (r->id < 0) {
		kfree(r);
		return NULL;
	}
	kref_init(&r->kref);
	spin_lock_init(&r->lock);
	mutex_init(&r->state);
	INIT_DELAYED_WORK(&r->work, regs_work);
	r->pdev = pdev;
	snprintf(r->name, sizeof(r->name), "shmheap_regs%d", r->id);
	r->misc.minor = MISC_DYNAMIC_MINOR;
	r->misc.name = r->name;
	r->misc.mode = 0600;
	r->misc.fops = &regs_fops;
	r->misc.parent = &pdev->dev;
	return r;
}

/* The register begins with zeros, and no interrupt is pending. */
static void quieten(struct regs *r)
{
	writel(readl(r->bar + EDU_IRQ_STATUS), r->bar + EDU_IRQ_ACK);
	writeq(0, r->bar + SHMHEAP_REGS_REGISTER);
}

/*
 * The device does not become a bus master: programs that have its registers could otherwise have
 * it write all over memory. So its interrupt is the one by wire.
 */
static int regs_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct regs *r = regs_new(pdev);
	int err;

	if (!r)
		return -ENOMEM;
	err = pci_enable_device(pdev);
	if (err)
		goto no_device;
	pci_clear_master(pdev);
	err = pci_request_region(pdev, 0, KBUILD_MODNAME);
	if (err)
		goto no_region;
	r->bar = pci_iomap(pdev, 0, PAGE_SIZE);
	err = -ENOMEM;
	if (!r->bar)
		goto no_bar;
	quieten(r);
	err = request_irq(pdev->irq, regs_irq, IRQF_SHARED, r->name, r);
	if (err)
		goto no_irq;
	err = misc_register(&r->misc);
	if (err)
		goto no_misc;
	pci_set_drvdata(pdev, r);
	return 0;

no_misc:
	free_irq(pdev->irq, r);
	cancel_delayed_work_sync(&r->work);
no_irq:
	pci_iounmap(pdev, r->bar);
no_bar:
	pci_release_region(pdev, 0);
no_region:
	pci_disable_device(pdev);
no_device:
	kref_put(&r->kref, regs_free);
	return err;
}

/* Files may be open still: they keep the shared page, and lose the device. */
static void regs_remove(struct pci_dev *pdev)
{
	struct regs *r = pci_get_drvdata(pdev);

	misc_deregister(&r->misc);
	free_irq(pdev->irq, r);
	mutex_lock(&r->state);
	spin_lock_irq(&r->lock);
	r->gone = true;
	spin_unlock_irq(&r->lock);
	if (r->inode)
		unmap_mapping_range(r->inode->i_mapping, 0, PAGE_SIZE, 1);
	mutex_unlock(&r->state);
	cancel_delayed_work_sync(&r->work);
	pci_iounmap(pdev, r->bar);
	pci_release_region(pdev, 0);
	pci_disable_device(pdev);
	kref_put(&r->kref, regs_free);
}

static const struct pci_device_id regs_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};
MODULE_DEVICE_TABLE(pci, regs_ids);

static struct pci_driver regs_driver = {
	.name = KBUILD_MODNAME,
	.id_table = regs_ids,
	.probe = regs_probe,
	.remove = regs_remove,
};
module_pci_driver(regs_driver);

MODULE_DESCRIPTION("A device's register shared by programs and an interrupt handler");
MODULE_LICENSE("GPL");
