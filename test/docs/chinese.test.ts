import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const PAGES = ['README.zh-CN.md', 'docs/migrating.zh-CN.md', 'docs/gateway.zh-CN.md', 'docs/php.zh-CN.md'];
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

const HAN = String.raw`\p{Script=Han}`;
/** What belongs to Chinese text in its full-width form only. */
const HALF_WIDTH = new RegExp(`(?:${HAN}[,:;!?()]|[,:;!?()]${HAN}|${HAN}\\.(?:\\s|$))`, 'u');
/** Where a line of Markdown begins something of its own: a heading, an item, a quotation, a row of a table. */
const BEGINS = /^(?:#|[-*>|]|\d+\.)/;

/** The lines outside of fences, without what is code or the target of a link. */
function prose(text: string): string[] {
  return text
    .replaceAll(/^```[\s\S]*?^```/gm, '')
    .replaceAll(/`[^`\n]*`/g, 'x')
    .replaceAll(/\]\([^)]*\)/g, ']')
    .split('\n');
}

/** Whether a line has `**bold.**text`, of which the second pair of asterisks ends nothing. */
function isBroken(line: string): boolean {
  const parts = line.split('**');
  return parts.some(
    (part, index) => index % 2 === 1 && /\p{P}$/u.test(part) && /^[\p{L}\p{N}]/u.test(parts[index + 1] ?? ''),
  );
}

/** What is wrong with a page as Chinese text. */
function faults(text: string): string[] {
  const lines = prose(text);
  return lines.flatMap((line, index) => [
    ...(HALF_WIDTH.test(line) ? [`half-width punctuation: ${line}`] : []),
    ...(index > 0 && line.trim() !== '' && !BEGINS.test(line) && lines[index - 1]?.trim() !== ''
      ? [`wrapped: ${line}`]
      : []),
    // Markdown takes such asterisks for text: what ends in punctuation is bold only before a space or punctuation.
    ...(isBroken(line) ? [`not bold: ${line}`] : []),
  ]);
}

describe('a Chinese page', () => {
  it.each(PAGES)('%s has full-width punctuation and no wrapped line', (page) => {
    expect(faults(read(page))).toEqual([]);
  });

  it('is told of what is wrong with it', () => {
    const wrong = [
      '令牌,它',
      '(小程序',
      '时长: 一',
      '令牌:`x`',
      '前一行\n后一行',
      '- 前一行\n  后一行',
      '**令牌。**请',
    ];
    expect(wrong.filter((text) => faults(text).length === 0)).toEqual([]);
    const right = [
      '令牌，它（小程序）：`a, b`',
      '见 [文档](a/b.md)。',
      '- 一\n- 二',
      '| 一 |\n| 二 |',
      '**令牌**：请',
      '12:30',
    ];
    expect(right.flatMap(faults)).toEqual([]);
  });

  it("uses the field's words", () => {
    const text = PAGES.map(read).join('\n');
    const words = [
      '实例',
      '误报也不会浪费令牌',
      '故障演练',
      '寿命过半',
      '视为宕机',
      '退出码为 2',
      '先落库再发送',
      '迁移存储',
      '配置项',
    ];
    expect(words.filter((word) => !text.includes(word))).toEqual([]);
    // A broker is 实例 and no machine (but 中控服务器, which is WeChat's word), and nothing of ours dies.
    expect(text.match(/(?<!中控|这样一台)服务器|副本|半寿命|死了|已死|搬迁|先记账/gu)).toBeNull();
  });
});
