/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHMHEAP_STREAM_FILE_H
#define _SHMHEAP_STREAM_FILE_H

struct shmheap_instance;

int shmheap_stream_file_open(struct shmheap_instance *inst, unsigned long arg);

#endif
