"""Write the Chinese set: invented people in texts of an office, and what only looks like them.

`python -m tests.eval.pii.make_chinese` writes `data/chinese_{tune,test}.jsonl`. Seeded: the same
release gives the same bytes. The two halves share no template. One text in six writes its numbers
to be overlooked: full width, in groups, with characters that cannot be seen.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).parent / "data"
SEED: Final = 20_261_122
TEXTS: Final = 500
"""Of each half."""

_HOLE: Final = re.compile(r"\{([A-Z_]+)\}")
_ZERO_WIDTH: Final = "\u200b"

_SURNAMES: Final = [
    *(
        "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
    ),
    "欧阳",
    "司马",
    "上官",
    "诸葛",
]
_GIVEN: Final = list(
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英华玉兰红玲辉鹏浩宇轩梓涵欣怡子墨雨桐思远嘉豪晓峰志强建国海燕文博"
)
_CITIES: Final = [
    ("北京市", "海淀区"),
    ("上海市", "浦东新区"),
    ("广东省深圳市", "南山区"),
    ("浙江省杭州市", "西湖区"),
    ("江苏省南京市", "鼓楼区"),
    ("四川省成都市", "武侯区"),
    ("湖北省武汉市", "洪山区"),
    ("陕西省西安市", "雁塔区"),
    ("重庆市", "渝北区"),
    ("天津市", "和平区"),
    ("山东省青岛市", "市南区"),
    ("广西壮族自治区南宁市", "青秀区"),
    ("内蒙古自治区呼和浩特市", "新城区"),
    ("福建省厦门市", "思明区"),
    ("辽宁省大连市", "中山区"),
    ("", "朝阳区"),
]
_STREETS: Final = [
    "中关村大街",
    "人民路",
    "解放东路",
    "世纪大道",
    "文三路",
    "建设街",
    "科技园南区高新南一道",
    "长江路",
    "和平巷",
    "学院路",
    "迎宾大道",
    "凤凰北街",
]
_ESTATES: Final = ["阳光花园", "翠湖小区", "万科城", "金色家园", "国际大厦"]
_DOMAINS: Final = [
    "qq.com",
    "163.com",
    "example.com.cn",
    "sina.cn",
    "mail.atrium-corp.cn",
    "gmail.com",
]
_PROVINCES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_PLATE: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
_CODE: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_REGIONS: Final = [
    "110108",
    "310115",
    "440305",
    "330106",
    "320106",
    "510107",
    "420111",
    "610113",
    "500112",
    "370202",
]
_CARD_STARTS: Final = [
    "622202",
    "621700",
    "621661",
    "622848",
    "622588",
    "625912",
    "436742",
    "528856",
    "356827",
]


def _digits(dice: random.Random, count: int) -> str:
    return "".join(dice.choices("0123456789", k=count))


def _luhn_digit(number: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def _date(dice: random.Random) -> str:
    return f"{dice.randint(1950, 2012)}{dice.randint(1, 12):02}{dice.randint(1, 28):02}"


def _id_card(dice: random.Random) -> str:
    body = dice.choice(_REGIONS) + _date(dice) + _digits(dice, 3)
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    return body + "10X98765432"[sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11]


def _mobile(dice: random.Random) -> str:
    number = dice.choice(
        ["138", "139", "150", "159", "177", "186", "199", "166", "131", "182"]
    ) + _digits(dice, 8)
    form = dice.random()
    if form < 0.1:
        return "+86" + number
    if form < 0.2:
        return f"+86 {number[:3]} {number[3:7]} {number[7:]}"
    if form < 0.3:
        return f"{number[:3]}-{number[3:7]}-{number[7:]}"
    return number


def _landline(dice: random.Random) -> str:
    area = dice.choice(["010", "021", "0755", "0571", "028", "029"])
    number = dice.choice("2345678") + _digits(dice, 7)
    extension = f"-{_digits(dice, 3)}" if dice.random() < 0.2 else ""
    return dice.choice([f"{area}-{number}", f"（{area}）{number}", f"{area} {number}"]) + extension


def _foreign_phone(dice: random.Random) -> str:
    return dice.choice(
        [
            f"+1 415 555 0{_digits(dice, 3)}",
            f"+44 20 7946 0{_digits(dice, 3)}",
            f"+852 {dice.choice('2369')}{_digits(dice, 3)} {_digits(dice, 4)}",
            f"+81-3-{dice.choice('3456')}{_digits(dice, 3)}-{_digits(dice, 4)}",
            f"+49 30 {dice.choice('23456789')}{_digits(dice, 6)}",
        ]
    )


def _phone(dice: random.Random) -> str:
    return dice.choices([_mobile, _landline, _foreign_phone], [6, 3, 1])[0](dice)


def _bank_card(dice: random.Random) -> str:
    start = dice.choice(_CARD_STARTS)
    body = start + _digits(dice, (16 if start[0] in "345" else dice.choice([16, 19])) - 7)
    number = body + _luhn_digit(body)
    if dice.random() < 0.3:
        return " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    return number


def _email(dice: random.Random) -> str:
    name = dice.choice(
        ["zhang.wei", "lina1988", "wang_fang", "chenjie", "hr-team", "t.liu+work", "88231765"]
    )
    return f"{name}{dice.choice(['', _digits(dice, 2)])}@{dice.choice(_DOMAINS)}"


def _address(dice: random.Random) -> str:
    city, district = dice.choice(_CITIES)
    text = f"{city}{district}{dice.choice(_STREETS)}{dice.randint(1, 999)}号"
    form = dice.random()
    if form < 0.5:
        text += f"{dice.choice(_ESTATES)}{dice.randint(1, 30)}{dice.choice(['号楼', '栋', '幢'])}"
        text += f"{dice.randint(1, 6)}单元{dice.randint(101, 2805)}室"
    elif form < 0.7:
        text += f"{dice.choice(_ESTATES)}{dice.randint(3, 30)}层{_digits(dice, 4)}"
    return text


def _passport(dice: random.Random) -> str:
    return dice.choice(["E", "G", "EA", "EJ", "EH"]).ljust(2, dice.choice("123456789")) + _digits(
        dice, 7
    )


def _plate(dice: random.Random) -> str:
    front = dice.choice(_PROVINCES) + dice.choice("ABCDEFGHJKL") + dice.choice(["", "·", " "])
    form = dice.random()
    if form < 0.2:
        return front + dice.choice("DF") + dice.choice(_PLATE) + _digits(dice, 4)
    if form < 0.3:
        return front + _digits(dice, 5) + dice.choice("DF")
    if form < 0.4:
        return front + _digits(dice, 4) + dice.choice("挂学警")
    return front + "".join(dice.choices(_PLATE, k=4)) + dice.choice("0123456789")


def _credit_code(dice: random.Random) -> str:
    weights = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28]
    body = (
        dice.choice(["91", "92", "93", "12", "51"])
        + dice.choice(_REGIONS)
        + "".join(dice.choices(_CODE, k=9))
    )
    total = sum(_CODE.index(each) * weight for each, weight in zip(body, weights, strict=True))
    return body + _CODE[-total % 31]


def _iban(dice: random.Random) -> str:
    country, form = dice.choice([("DE", 18), ("FR", 23), ("ES", 20), ("NL", None), ("GB", None)])
    if country == "NL":
        account = "ABNA" + _digits(dice, 10)
    elif country == "GB":
        account = "NWBK" + _digits(dice, 14)
    else:
        account = _digits(dice, form or 0)
    number = "".join(str(int(each, 36)) for each in account + country + "00")
    iban = f"{country}{98 - int(number) % 97:02}{account}"
    if dice.random() < 0.5:
        return " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))
    return iban


def _ip(dice: random.Random) -> str:
    if dice.random() < 0.2:
        return "2001:db8:" + ":".join(f"{dice.randint(1, 65535):x}" for _ in range(6))
    return ".".join(str(dice.randint(1, 254)) for _ in range(4))


def _person(dice: random.Random) -> str:
    return dice.choice(_SURNAMES) + "".join(dice.choices(_GIVEN, k=dice.choice([1, 2, 2])))


MAKERS: Final[dict[str, Callable[[random.Random], str]]] = {
    "ID_CARD": _id_card,
    "PHONE": _phone,
    "BANK_CARD": _bank_card,
    "EMAIL": _email,
    "ADDRESS": _address,
    "PASSPORT": _passport,
    "PLATE": _plate,
    "CREDIT_CODE": _credit_code,
    "IBAN": _iban,
    "IP_ADDRESS": _ip,
    "PERSON": _person,
}


def _bad_luhn(dice: random.Random) -> str:
    number = _bank_card(dice).replace(" ", "")
    return number[:-1] + str((int(number[-1]) + dice.randint(1, 9)) % 10)


def _stamp(dice: random.Random) -> str:
    return f"20{dice.randint(20, 27)}{dice.randint(1, 12):02}{dice.randint(1, 28):02}"


_LURES: Final[dict[str, Callable[[random.Random], str]]] = {
    "ORDER": lambda dice: (
        dice.choice(["", "SO", "PO-", "DD"]) + _stamp(dice) + _digits(dice, dice.choice([6, 8, 10]))
    ),
    "DATE": lambda dice: dice.choice(
        ["2026-03-15", "2025年12月1日", "2026/07/08 14:30:05", "20261122", "1998.10.12"]
    ),
    "AMOUNT": lambda dice: dice.choice(
        [
            f"{dice.randint(1, 999)},{_digits(dice, 3)},{_digits(dice, 3)}.{_digits(dice, 2)}",
            f"{dice.randint(10_000_000, 9_999_999_999)}",
            f"{dice.randint(1, 9999)}.{_digits(dice, 2)}",
        ]
    ),
    "VERSION": lambda dice: (
        f"v{dice.randint(1, 9)}.{dice.randint(0, 20)}.{dice.randint(0, 9)}.{dice.randint(0, 300)}"
    ),
    "SERIAL": lambda dice: (
        dice.choice(["SN", "MX-", "AB"]) + _digits(dice, dice.choice([7, 9, 12]))
    ),
    "BAD_CARD": _bad_luhn,
    "RATIO": lambda dice: f"{dice.randint(1, 99)}.{_digits(dice, 2)}%",
    "TIME": lambda dice: (
        f"{dice.randint(0, 23):02}:{dice.randint(0, 59):02}:{dice.randint(0, 59):02}"
    ),
    "TRACKING": lambda dice: dice.choice(["SF", "YT", "ZTO"]) + _digits(dice, 13),
    "STANDARD": lambda dice: dice.choice(
        ["GB/T 19001-2016", "ISO 27001:2022", "GB 11643-1999", "HJ 2.2-2018"]
    ),
    "RANGE": lambda dice: f"{dice.randint(100, 400)}-{dice.randint(401, 900)}",
    "ISBN": lambda dice: f"978-7-{_digits(dice, 3)}-{_digits(dice, 5)}-{_digits(dice, 1)}",
}

_TUNE: Final = """
客户{PERSON}，身份证号{ID_CARD}，手机{PHONE}，请尽快回访。
收件人：{PERSON}，电话：{PHONE}，地址：{ADDRESS}。
请把工资打到我的卡上，卡号是{BANK_CARD}，户名{PERSON}。
发票抬头统一社会信用代码{CREDIT_CODE}，寄到{ADDRESS}，联系人{PERSON}。
我的邮箱是{EMAIL}，有问题可以发邮件，也可以打{PHONE}。
员工{PERSON}的护照号码为{PASSPORT}，签证到期日2027-05-01。
停车场登记：{PLATE}，车主{PERSON}先生，联系电话{PHONE}。
服务器{IP_ADDRESS}在凌晨3点重启过两次，请找{PERSON}老师确认。
海外付款请汇至IBAN {IBAN}，备注合同编号{ORDER}。
甲方：{PERSON}（身份证：{ID_CARD}）乙方：{PERSON}（身份证：{ID_CARD}）
患者{PERSON}，家住{ADDRESS}，紧急联系电话{PHONE}。
订单{ORDER}于{DATE}完成，金额{AMOUNT}元，收货电话{PHONE}。
转账到{BANK_CARD}，金额{AMOUNT}元，时间{TIME}。
我叫{PERSON}，今年28岁，手机号{PHONE}，邮箱{EMAIL}。
访客车辆{PLATE}、{PLATE}已放行。
公司注册地址为{ADDRESS}，信用代码：{CREDIT_CODE}，法定代表人{PERSON}。
登录IP：{IP_ADDRESS}，账号{EMAIL}，时间{DATE}。
证件类型护照，证件号{PASSPORT}，姓名{PERSON}，传真{PHONE}。
{PERSON}经理您好，麻烦把材料寄到{ADDRESS}，谢谢。
白名单加上{IP_ADDRESS}和{IP_ADDRESS}即可。
第{ORDER}号工单已经关闭，耗时{TIME}。
截至{DATE}，累计营收{AMOUNT}元，同比增长{RATIO}。
软件升级到{VERSION}之后问题消失。
设备序列号{SERIAL}，快递单号{TRACKING}。
测试卡号{BAD_CARD}不能通过校验。
依据{STANDARD}第{RANGE}页的要求执行。
参考书号{ISBN}，定价{AMOUNT}元。
高兴的是，方案通过了，时间安排在{DATE}，地点另行通知。
会议纪要：项目进度{RATIO}，预算{AMOUNT}元，风险较低。
任务编号{ORDER}，优先级高，金额单位万元，王者荣耀活动下线。
向前推进工作，白天完成测试，何时上线待定。
周一例会改到周三，方法不变，金融部门参加。
"""

_TEST: Final = """
您好，我是{PERSON}，我的手机号码换成{PHONE}了，请更新。
申请人{PERSON}，公民身份号码{ID_CARD}，住址{ADDRESS}。
退款账户：{BANK_CARD}，开户人：{PERSON}，预留手机{PHONE}。
请开票：税号{CREDIT_CODE}，地址电话：{ADDRESS} {PHONE}。
简历投递至{EMAIL}，咨询请联系{PERSON}女士。
{PERSON}先生的护照{PASSPORT}将在下月过期。
违章车辆{PLATE}已通知车主，电话{PHONE}。
日志里出现了来自{IP_ADDRESS}的异常登录，涉及用户{EMAIL}。
付款信息：{IBAN}；收款人{PERSON}。
合同双方为{PERSON}与供应商，供应商信用代码{CREDIT_CODE}。
快递寄往{ADDRESS}，收货人{PERSON}，{PHONE}。
工资卡{BANK_CARD}已于{DATE}停用，请换成{BANK_CARD}。
学生{PERSON}（{ID_CARD}）的监护人电话是{PHONE}。
订车信息：车牌{PLATE}，司机{PERSON}师傅，{PHONE}。
我住在{ADDRESS}，周末在家，敲门前打{PHONE}。
负责人：{PERSON}；邮箱：{EMAIL}；座机：{PHONE}。
出境人员名单：{PERSON}，护照号{PASSPORT}，身份证{ID_CARD}。
网关{IP_ADDRESS}到{IP_ADDRESS}不通。
员工{PERSON}报销{AMOUNT}元，打入{BANK_CARD}。
请{PERSON}主任审批，附件发{EMAIL}。
流水号{ORDER}，处理时间{TIME}，状态成功。
预算从{AMOUNT}元调整为{AMOUNT}元，降幅{RATIO}。
固件版本{VERSION}，内部编号{SERIAL}。
运单{TRACKING}预计{DATE}送达。
号码{BAD_CARD}校验位不对。
按{STANDARD}执行，见{RANGE}行。
图书{ISBN}已入库，库存{AMOUNT}册。
发票号码{ORDER}，开票日期{DATE}。
常用方案有三种，任何一种都可以，程序会自动选择。
马上开始，金额以合同为准，安全第一。
和平谈判，华北市场，温度上升{RATIO}。
江苏市场增长，方向正确，严格执行计划{ORDER}。
"""

_WRITTEN_TO_HIDE: Final = {"ID_CARD", "PHONE", "BANK_CARD", "CREDIT_CODE"}


def hard_to_see(value: str, dice: random.Random) -> str:
    """Write a number so that a plain pattern overlooks it."""
    bare = value.replace(" ", "").replace("-", "")
    form = dice.randrange(3)
    if form == 0:
        return "".join(chr(ord(each) + 0xFEE0) if each.isdigit() else each for each in value)
    if form == 1:
        at = dice.randint(3, len(bare) - 4)
        return bare[:at] + _ZERO_WIDTH + bare[at:]
    if len(bare) == 11 and bare.isdigit():
        return f"{bare[:3]} {bare[3:7]} {bare[7:]}"
    return (
        "-".join(bare[at : at + 6] for at in range(0, len(bare), 6)) if len(bare) == 18 else value
    )


def _texts(templates: str, dice: random.Random) -> list[dict[str, Any]]:
    chosen = templates.strip().splitlines()
    rows = []
    for number in range(TEXTS):
        template = chosen[number % len(chosen)]
        hide = dice.random() < 1 / 6
        text, spans, at = "", [], 0
        for hole in _HOLE.finditer(template):
            text += template[at : hole.start()]
            at = hole.end()
            kind = hole[1]
            value = (MAKERS.get(kind) or _LURES[kind])(dice)
            if kind in _WRITTEN_TO_HIDE and hide:
                value = hard_to_see(value, dice)
            if kind in MAKERS:
                spans.append({"kind": kind, "start": len(text), "end": len(text) + len(value)})
            text += value
        rows.append({"text": text + template[at:], "spans": spans})
    return rows


def main() -> None:
    """Write both halves."""
    dice = random.Random(SEED)
    DATA.mkdir(exist_ok=True)
    for half, templates in (("tune", _TUNE), ("test", _TEST)):
        lines = [json.dumps(row, ensure_ascii=False) for row in _texts(templates, dice)]
        (DATA / f"chinese_{half}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
