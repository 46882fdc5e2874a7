// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Who may map what, where. The region is at its base in every process or not at all, whole,
 * shared; a child of fork has it too, as pointers in it mean the same there. A mapping holds its
 * file, and so the instance.
 */
#include <linux/mm.h>
#include "compat.h"
#include "instance.h"
#include "mmap.h"

static struct shmheap_instance *instance_of(const struct vm_area_struct *vma)
{
	return vma->vm_private_data;
}

static vm_fault_t region_fault(struct vm_fault *vmf)
{
	return shmheap_store_fault(&instance_of(vmf->vma)->store, vmf);
}

static int refuse_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

static int refuse_mremap(struct vm_area_struct *vma)
{
	return -EINVAL;
}

static const struct vm_operations_struct region_operations = {
	.fault = region_fault,
	.may_split = refuse_split,
	.mremap = refuse_mremap,
};

static vm_fault_t control_fault(struct vm_fault *vmf)
{
	return vmf_insert_page(vmf->vma, vmf->address & PAGE_MASK, instance_of(vmf->vma)->control);
}

static const struct vm_operations_struct control_operations = {
	.fault = control_fault,
};

static int check(const struct shmheap_instance *inst, const struct vm_area_struct *vma)
{
	u64 off = (u64)vma->vm_pgoff << PAGE_SHIFT;
	u64 len = vma->vm_end - vma->vm_start;

	if (!(vma->vm_flags & VM_SHARED))
		return -EOPNOTSUPP;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	if (off == SHMHEAP_MMAP_CONTROL)
		return len == PAGE_SIZE ? 0 : -EINVAL;
	if (off != SHMHEAP_MMAP_REGION || !inst->store.bytes)
		return -ENXIO;
	if (len != inst->store.bytes)
		return -EINVAL;
	return vma->vm_start == inst->base ? 0 : -EADDRNOTAVAIL;
}

int shmheap_mmap(struct shmheap_instance *inst, struct vm_area_struct *vma)
{
	int err = check(inst, vma);

	if (err) {
		atomic64_inc(&inst->refused);
		return err;
	}
	/*
	 * MIXEDMAP from the beginning: faults insert pages with mmap_lock held for reading only.
	 */
	shmheap_vm_flags_mod(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYEXEC);
	vma->vm_private_data = inst;
	vma->vm_ops = vma->vm_pgoff ? &control_operations : &region_operations;
	return 0;
}
